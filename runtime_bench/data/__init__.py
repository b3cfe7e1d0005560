"""Pictures and their labels, as COCO JSON, `data.yaml`, or a plain folder."""
