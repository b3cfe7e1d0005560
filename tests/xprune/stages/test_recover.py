"""Recovery of a run: what it trains on, what it leaves, and that a stop does no harm."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from runtime_bench.errors import EdgeError
from tests.xprune.stages.conftest import MakeBench
from xprune.models.load import load_detector
from xprune.recovery import training
from xprune.stages.attribute import attribute
from xprune.stages.export import load_pruned
from xprune.stages.lessons import Lessons
from xprune.stages.plan import plan
from xprune.stages.prune import prune
from xprune.stages.recover import RECOVERED_FILE, STATE_FILE, recover, recover_network
from xprune.stages.workbench import Workbench


def ticks() -> Callable[[], float]:
    """A clock that moves on by a second whenever it is read."""
    count = itertools.count()
    return lambda: float(next(count))


def moved(network: nn.Module, by: float = 0.02) -> nn.Module:
    """A copy with moved weights: it has something to win back."""
    result = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    for weight in result.parameters():
        weight.data += by * torch.randn(weight.shape, generator=generator)
    return result


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks hold the same values, to the last bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def spare_bench(make_bench: MakeBench) -> Workbench:
    """Four of the twelve scenes test, four are scored on, and four are left."""
    return make_bench(recover="distill")


def test_pictures_are_all_but_the_test_pictures(spare_bench: Workbench):
    """Those that were scored come first; none of them tests."""
    names = [picture.name for picture in spare_bench.recovery_pool.pictures]

    scored = [picture.name for picture in spare_bench.sets.calibration.pictures]
    tested = {picture.name for picture in spare_bench.sets.test.pictures}
    assert len(names) == len(set(names)) == 8
    assert names[:4] == scored
    assert not tested & set(names)


def test_as_many_pictures_as_are_asked_for(make_bench: MakeBench):
    """No more are used; more than there are is an error that says how many there are."""
    assert len(make_bench(recover_images=6).recovery_pool) == 6
    with pytest.raises(EdgeError, match=r"8 pictures of .*, and --recover-images asks for 9"):
        _ = make_bench(recover_images=9).recovery_pool


def test_built_in_scenes_are_drawn_as_needed(make_bench: MakeBench):
    """Of them there is no end, and the first ones are those that were scored."""
    bench = make_bench(data="builtin", recover_images=7)

    names = [picture.name for picture in bench.recovery_pool.pictures]

    assert len(names) == 7
    scored = {picture.path.read_bytes() for picture in bench.sets.calibration.pictures}
    first = {picture.path.read_bytes() for picture in bench.recovery_pool.pictures[:4]}
    assert first == scored


def test_a_network_is_brought_nearer_without_being_changed(spare_bench: Workbench):
    """The caller's stays as it was, and so does the detector; the result is nearer to it."""
    teacher = spare_bench.detector.network
    student, before = moved(teacher), copy.deepcopy(teacher)
    untouched = copy.deepcopy(student)

    recovered = recover_network(spare_bench, student, minutes=0.5, clock=ticks())

    assert recovered.best_loss < recovered.start_loss
    assert same_weights(student, untouched)
    assert same_weights(teacher, before)
    assert (recovered.pictures, recovered.held_out) == (7, 1)
    assert recovered.seconds >= 30
    images = spare_bench.calibration.images()
    family = spare_bench.forward
    with torch.no_grad():
        wanted = family(teacher, images)["scores"]
        far = (family(student, images)["scores"] - wanted).pow(2).mean()
        near = (family(recovered.network, images)["scores"] - wanted).pow(2).mean()
    assert near < far


def test_a_stopped_recovery_ends_as_if_it_had_not_been(
    spare_bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also what the teacher finds, which is found again, is the same."""
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    student, state = moved(spare_bench.detector.network), tmp_path / "state.safetensors"
    whole = recover_network(spare_bench, student, minutes=0.2, clock=ticks())
    step = Lessons.loss

    def killed(self: Lessons, network: nn.Module, number: int) -> torch.Tensor:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, network, number)

    monkeypatch.setattr(Lessons, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        recover_network(spare_bench, student, minutes=0.2, clock=ticks(), state=state)
    monkeypatch.setattr(Lessons, "loss", step)
    ended = recover_network(spare_bench, student, minutes=0.2, clock=ticks(), state=state)

    assert ended.facts() == whole.facts()
    assert same_weights(ended.network, whole.network)


def test_pytorch_gets_its_threads_back(spare_bench: Workbench):
    """Training uses those of the run; what comes after it, those of before."""
    before = torch.get_num_threads()

    recover_network(
        spare_bench, moved(spare_bench.detector.network), minutes=0.1, clock=ticks()
    )

    assert torch.get_num_threads() == before


def test_one_picture_is_too_few(make_bench: MakeBench):
    """One is held out, so one is left for nothing."""
    bench = make_bench(images=11, calibration_images=1)

    with pytest.raises(EdgeError, match="1 picture is too few to recover on"):
        recover_network(bench, moved(bench.detector.network), minutes=0.1)


def run_until_pruned(bench: Workbench) -> None:
    """The stages before recovery."""
    bench.run.settle("recover")
    for stage in (attribute, plan, prune):
        stage(bench)


def test_the_stage_leaves_a_file_that_is_exported(make_bench: MakeBench):
    """It rebuilds the network alone, says what it brought, and its state is gone."""
    bench = make_bench(recover="distill", recover_minutes=0.02)
    run_until_pruned(bench)

    recover(bench)

    made = load_detector(str(bench.run.file(RECOVERED_FILE)))
    assert same_weights(made.network, load_pruned(bench).network)
    assert made.plan
    assert not bench.run.file(STATE_FILE).exists()
    assert any("Recovering for 0.02 minutes on 7 pictures; 1" in line for line in bench.said)
    recover(bench)
    assert bench.said[-1] == "The model is recovered already"


def test_without_training_nothing_is_left_or_said(make_bench: MakeBench):
    """The refit alone: the pruned network is what is exported."""
    bench = make_bench()
    run_until_pruned(bench)
    said = len(bench.said)

    recover(bench)

    assert not bench.run.file(RECOVERED_FILE).exists()
    assert len(bench.said) == said
    assert load_pruned(bench).plan


def test_finetuning_learns_from_the_labels(make_bench: MakeBench):
    """The targets are the boxes of the data, crowds left out, not what the teacher finds."""
    bench = make_bench(recover="finetune")
    pool = bench.recovery_pool
    lessons = Lessons(bench, pool, 1, torch.device("cpu"), labelled=True)

    found = lessons._on_picture(3)

    single = ~pool.pictures[3].crowd
    np.testing.assert_array_equal(found.boxes, pool.pictures[3].boxes[single])
    np.testing.assert_array_equal(found.labels, pool.pictures[3].labels[single])
    assert lessons.examination is not None
    (asked,) = lessons.examination.dataset.pictures
    held_out = pool.pictures[-1]
    np.testing.assert_array_equal(asked.boxes, held_out.boxes[~held_out.crowd])
    recovered = recover_network(bench, bench.detector.network, minutes=0.1, clock=ticks())
    assert recovered.best_loss <= recovered.start_loss


def test_finetuning_without_labels_is_an_error(make_bench: MakeBench, scenes_file: Path):
    """It says where to put some, and what to do without."""
    folder = scenes_file.parent / "images"
    apart = make_bench().run.path.parent / "pool"
    apart.mkdir()
    for index, path in enumerate(sorted(folder.iterdir())[:3]):
        picture = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(picture).save(apart / f"{index}.jpg")
    bench = make_bench(
        recover="finetune", calibration=str(apart), images=4, calibration_images=2
    )

    with pytest.raises(EdgeError, match=r"finetune needs labels, and .* has none"):
        recover_network(bench, bench.detector.network, minutes=0.1)


def test_held_out_pictures_are_never_trained_on(
    spare_bench: Workbench, monkeypatch: pytest.MonkeyPatch
):
    """Whatever the step, its views are of the others."""
    lessons = Lessons(spare_bench, spare_bench.recovery_pool, 2, torch.device("cpu"))
    seen: set[int] = set()
    monkeypatch.setattr(
        lessons, "_loss", lambda network, views: seen.update(view.picture for view in views)
    )

    for step in range(20):
        lessons.loss(spare_bench.detector.network, step)

    assert seen == set(range(6))


def test_where_nothing_was_replaced_nothing_is_trained(spare_bench: Workbench):
    """There is nothing to win back, and minutes of training would only move the weights."""
    network = spare_bench.detector.network

    recovered = recover_network(spare_bench, network, minutes=0.1, clock=ticks())

    assert same_weights(recovered.network, network)
    assert recovered.network is not network
    assert (recovered.steps, recovered.start_loss) == (0, None)
    assert spare_bench.said[-1] == "No layer was replaced, so there is nothing to win back"


def test_held_out_answers_are_what_the_teacher_finds(make_bench: MakeBench):
    """On the network's own input, in pixels of the picture; so it misses few of them itself."""
    bench = make_bench(recover="distill")
    for level in bench.detector.network.model[-1].cv3:
        level[-1].bias.data += 11  # random weights are sure of nothing
        level[-1].weight.data *= 30
    lessons = Lessons(bench, bench.recovery_pool, 2, torch.device("cpu"))

    assert lessons.examination is not None
    for picture in lessons.examination.dataset.pictures:
        height, width = picture.size
        assert (picture.boxes <= np.array([width, height, width, height]) + 1e-3).all()
    assert lessons.missed(bench.detector.network) < 0.2


def test_what_is_remembered_teaches_the_same(spare_bench: Workbench):
    """A view that was seen before gives the loss of one that is looked at anew."""
    teacher = spare_bench.detector.network
    common = frozenset(list(dict(teacher.named_parameters()))[:20])
    student = moved(teacher)
    for name in common:
        student.get_parameter(name).data.copy_(teacher.get_parameter(name))
    pool, device = spare_bench.recovery_pool, torch.device("cpu")
    apart = Lessons(spare_bench, pool, 1, device)
    together = Lessons(spare_bench, pool, 1, device, common=common)

    losses = [float(together.loss(student, 0)) for _ in range(2)]

    assert together._begun is not None
    assert together._begun.read
    assert together._begun.image is not None
    assert losses == pytest.approx([float(apart.loss(student, 0))] * 2, rel=0.02)
