"""A folder for each class, with images in it: torchvision's ImageFolder convention, and the folders of the parts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .classes import few
from .dataset import DataError, Files
from .findings import Finding
from .folders import Inside, Walk, identity, images_in, is_picture, look
from .part_names import TEST, TRAIN, VALIDATION, folder_parts

EXPECTED = (
    "expected a folder for each class, with images in it, perhaps within train/ and val/ or test/; or IDX files, "
    "CIFAR's binary files or tar shards"
)


@dataclass(frozen=True)
class Layout:
    """Which folder holds the class folders of each part. Where the folder itself holds them, ``parts`` is empty.

    ``findings`` are images that are ignored, and what is doubtful; ``notes`` what was decided.
    """

    folder: Path
    parts: dict[str, Path] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def layout(folder: Path) -> Layout:
    """Read the names of folders: train/, Validation/, seg_test/ are parts, others classes.

    A folder that has the name of a part and holds images, but no folders, is a class of that name beside other classes
    with images. DataError where a layout can be taken for two things, with both.
    """
    inside = look(folder)
    within = {path: look(path) for path in inside.folders}
    names = folder_parts(path.name for path in inside.folders)
    said = {path: names[path.name] for path in inside.folders if path.name in names}
    others = [path for path in inside.folders if path not in said]
    holding_folders = [path for path in said if within[path].folders]
    flat = [path for path in said if not within[path].folders and within[path].images]
    if not holding_folders:
        notes = _classes_called_as_parts(folder, flat, others)
        return Layout(folder, findings=_alike(folder, within), notes=notes)

    result = Layout(folder)
    for path in holding_folders + flat:
        if other := result.parts.get(said[path]):
            expected = f"expected one folder for the {said[path]} part"
            raise DataError(
                f"{folder}: {expected}, got {other.name}/ and {path.name}/: rename one of them, or take it out"
            )
        result.parts[said[path]] = path
    own_images = [path for path in holding_folders if within[path].images]
    beside = [path for path in others if within[path].images]
    if own_images and beside:
        raise DataError(
            f"{folder}: {own_images[0].name}/ holds both images and folders, beside {beside[0].name}/ with images. Is "
            f"it a class, or the {said[own_images[0]]} part of the data? Rename the class, or take a folder out"
        )
    for path in flat:
        text = "is ignored, because it holds images, but no class folders"
        result.findings.append(Finding("ignored", str(path), text))
        del result.parts[said[path]]
    for path in said:
        if path not in holding_folders and path not in flat:
            result.findings.append(Finding("ignored", str(path), f"is empty: there is no {said[path]} part in it"))
    for path in others:
        if number := images_in([path]):
            text = f"is ignored, because it stands beside the parts of the data ({number:,} images)"
            result.findings.append(Finding("ignored", str(path), text))
    result.findings.extend(loose(folder, inside))
    for part, path in result.parts.items():
        result.parts[part] = _within_itself(path, part)
    _leave_out_unlabelled_test(result)
    _compare(result)
    return result


def _classes_called_as_parts(folder: Path, flat: Sequence[Path], others: Sequence[Path]) -> list[str]:
    """Notes about folders with images that are called as parts. DataError where they cannot be classes."""
    if not flat:
        return []
    names = ", ".join(f"{path.name}/" for path in flat)
    if len(flat) > 1 or not images_in(others):
        raise DataError(
            f"{folder}: {names} have names of parts of a data set, but hold images and no class folders. Expected a "
            f"folder for each class: {flat[0].name}/CLASS/*.jpg, or CLASS/*.jpg without parts"
        )
    return [f"{names} holds images and no folders, so it is taken for a class of that name, not for a part of the data"]


def _alike(folder: Path, within: Mapping[Path, Inside]) -> list[Finding]:
    """A finding where all folders hold folders of the same names: they may be parts, and those the classes.

    DataError where the names say that it is so within each class: cat/train/, cat/test/, dog/train/, dog/test/.
    """
    if len(within) < 2 or any(inside.images for inside in within.values()):
        return []
    same = set.intersection(*({path.name for path in inside.folders} for inside in within.values()))
    called = few([f"{path.name}/" for path in within])
    first = next(iter(within))
    names = few([f"{name}/" for name in sorted(same)])
    if len(set(folder_parts(same).values())) > 1:
        raise DataError(
            f"{folder}: {called} each hold parts of the data: {names}. Expected parts that hold the classes: {names} "
            f"and CLASS/ in each. If {first.name}/ is a data set of its own, name it: {first}"
        )
    if len(same) < 2 or not all(look(first / name).images for name in same):
        return []
    text = f"the classes are {called}, and all hold {names}. If they are parts of the data, call them train/ and val/"
    return [Finding("class", str(folder), text)]


def _within_itself(path: Path, part: str) -> Path:
    """An archive is often unpacked into a folder of its own name: seg_train/seg_train/CLASS."""
    inside = look(path)
    while len(inside.folders) == 1 and not inside.images:
        (only,) = inside.folders
        if folder_parts([only.name]).get(only.name) != part or not look(only).folders:
            break
        path, inside = only, look(only)
    return path


def _leave_out_unlabelled_test(layout: Layout) -> None:
    """Of many data sets the test images come without labels: test/unknown/, test/images/."""
    if TRAIN in layout.parts and TEST in layout.parts:
        path = layout.parts[TEST]
        train, test = ({folder.name for folder in look(layout.parts[part]).folders} for part in (TRAIN, TEST))
        if not train & test:
            others = few([f"{name}/" for name in sorted(test)])
            text = f"is ignored, because it holds no class of the training set, but {others}"
            layout.findings.append(Finding("ignored", str(path), text))
            del layout.parts[TEST]


def _compare(layout: Layout) -> None:
    seen: dict[object, Path] = {}
    for part in (TRAIN, VALIDATION, TEST):
        if part in layout.parts:
            path = layout.parts[part]
            first = seen.setdefault(identity(path), path)
            if first is not path:
                text = f"is the same folder as {first}: the network is judged by images that it learns"
                layout.findings.append(Finding("ignored", str(path), text))


def loose(folder: Path, inside: Inside) -> list[Finding]:
    """Images beside folders, of which none is theirs."""
    if not inside.images:
        return []
    text = f"{len(inside.images):,} images beside the folders are ignored ({inside.images[0].name}, ...)"
    return [Finding("ignored", str(folder), text)]


@dataclass(frozen=True)
class Found:
    """What is in the class folders of ``folder``, at any depth: of each class its images.

    What is an image, its suffix says; how many files of others there are, ``passed_over``. Hidden files do
    not count, nor what is in hidden folders, such as the copies in .ipynb_checkpoints/. ``findings``: see Walk.
    """

    folder: Path
    pictures: dict[str, list[Path]]
    passed_over: Counter[str]
    findings: list[Finding]


def find(folder: Path) -> Found:
    """Classes and images in alphabetical order. DataError where a folder cannot be read."""
    inside = look(folder)
    walk = Walk()
    walk.enter(folder)
    classes = [path for path in inside.folders if walk.enter(path)]
    pictures: dict[str, list[Path]] = {}
    passed_over: Counter[str] = Counter()
    for path in sorted(classes):
        files = list(walk.files(path))
        pictures[path.name] = sorted(file for file in files if is_picture(file))
        passed_over.update(file.suffix.lower() or "without a suffix" for file in files if not is_picture(file))
        if not path.name.isprintable():
            walk.findings.append(_unprintable(path))
    return Found(folder, pictures, passed_over, walk.findings + (loose(folder, inside) if classes else []))


def _unprintable(path: Path) -> Finding:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        text = "expected a name in UTF-8, for it is the class's name in all files of a run: rename the folder"
        return Finding("class", str(path), text, stops=True)
    return Finding("class", str(path), f"its name {path.name!r:.200} has characters that cannot be printed")


def files(found: Found, classes: Sequence[str]) -> Files:
    """The images as a data set; labels are positions in ``classes``, which the found ones are among."""
    number = {name: label for label, name in enumerate(classes)}
    paths = [path for inside in found.pictures.values() for path in inside]
    return Files(paths, [number[name] for name, inside in found.pictures.items() for _ in inside], classes)
