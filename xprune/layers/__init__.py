"""What a layer is, what can stand in its place, and how the two are exchanged.

Nothing here knows an architecture: a layer is any submodule that maps one feature map to one.
"""
