"""What the person wears: hair, shirt, trousers and shoes, as layers over the body's mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from tools.content.face import mix, paint_skin
from tools.content.figure import Figure
from tools.content.surface import Samples, noise, scatter, smooth, step, vertex_normals

Paint = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

NAVY, CREAM, CORAL = np.array([0.13, 0.24, 0.36]), np.array([0.93, 0.90, 0.83]), np.array([0.93, 0.42, 0.30])
DENIM, THREAD, HAIR = (
    np.array([0.24, 0.29, 0.38]),
    np.array([0.78, 0.60, 0.34]),
    np.array([0.20, 0.12, 0.075]),
)
CUFF, HEM, ANKLE = 0.565, 0.885, 0.062  # |x| where sleeves end; heights where shirt and trousers do
_CROWN = np.array([0.012, 0.135, -0.055])  # where the hair grows from, from the head joint
_HAIRLINE = (  # depth z, and the height from which there is hair there, both from the head joint
    (-0.15, -0.06, -0.042, -0.034, -0.004, 0.008, 0.020, 0.030, 0.045, 0.055, 0.09),
    (-0.045, -0.042, -0.03, 0.050, 0.055, 0.045, 0.025, 0.060, 0.078, 0.088, 0.090),
)


@dataclass(frozen=True)
class Layer:
    """One sheet over the body: where it lies, how fine it is sampled and how it looks."""

    vertices: np.ndarray  # (V, 3) the body's vertices moved to the sheet
    covers: Callable[[np.ndarray, np.ndarray], np.ndarray]  # points (N, 3) of body and sheet -> which exist
    pitch: Callable[[np.ndarray], np.ndarray]  # rest points (N, 3) -> distance of samples, a few values only
    paint: Paint  # points of the sheet, normals -> colour, gloss
    along: Callable[[np.ndarray], np.ndarray] | None = None  # rest points -> direction of the long axis
    stretch: tuple[float, float] = (1.0, 1.0)  # sizes along and across, in terms of a round Gaussian's
    rise: float = 0.0  # metres by which samples may stand out at random
    detail: float = 0.6  # the pitch at edges in terms of that elsewhere; 1 to leave edges alone


def neckline(points: np.ndarray) -> np.ndarray:
    """How far (N,) points lie above the edge of the collar."""
    return points[:, 1] - (1.468 - 0.42 * (points[:, 2] - 0.03) + 0.25 * np.abs(points[:, 0]))


def above_hairline(figure: Figure, points: np.ndarray) -> np.ndarray:
    """How far (N,) points lie above the edge of the hair, negative on the ears."""
    head = points - figure.head
    above = head[:, 1] - np.interp(head[:, 2], *_HAIRLINE)
    ear = (np.abs(head[:, 0]) > 0.0725) & (np.abs(head[:, 2] + 0.016) < 0.032) & (head[:, 1] < 0.056)
    return np.where(ear, -0.05, above + 0.0025 * noise(points, 0.006, 11))


def skin(figure: Figure) -> Layer:
    """Face, neck, forearms and hands, and a little under the edges of what covers the rest."""

    def covers(points: np.ndarray, _: np.ndarray) -> np.ndarray:
        head = (neckline(points) > -0.03) & (np.abs(points[:, 0]) < 0.2)
        shown = head & (above_hairline(figure, points) < 0.02) | (np.abs(points[:, 0]) > CUFF - 0.03)
        for centre, radius in figure.eyes.values():
            shown &= np.linalg.norm(points - centre, axis=1) > 0.75 * radius
        return shown

    def pitch(points: np.ndarray) -> np.ndarray:
        head, far = points - figure.head, np.abs(points[:, 0]) > 0.3
        features = (head[:, 2] > 0.05) & (np.abs(head[:, 0]) < 0.06) & (head[:, 1] > -0.06)
        fine = np.where((head[:, 1] > -0.09), np.where(features, 0.0020, 0.0030), 0.0048)
        return np.where(far, np.where(np.abs(points[:, 0]) > 0.69, 0.0032, 0.0050), fine)

    return Layer(
        figure.mesh.vertices, covers, pitch, lambda points, normals: paint_skin(figure, points, normals)
    )


def _strands(figure: Figure, points: np.ndarray) -> np.ndarray:
    """The direction (N, 3) in which hair grows: away from the crown, swept to one side in front."""
    crown = figure.head + _CROWN
    away = points - crown
    away[:, 0] += 0.35 * step(-0.02, 0.08, away[:, 2]) * 0.1
    return away + 0.012 * np.stack([noise(points, 0.02, seed) for seed in (21, 22, 23)], axis=1)


def _hair_vertices(figure: Figure, share: float) -> np.ndarray:
    points, mesh = figure.mesh.vertices, figure.mesh
    above = above_hairline(figure, points)
    scalp = np.abs(points[:, 1] - figure.head[1]) < 0.3
    head = points - figure.head
    quiff = step(0.02, 0.06, head[:, 2]) * step(0.07, 0.11, head[:, 1])
    thick = 0.003 + 0.015 * step(-0.004, 0.035, above) + 0.013 * quiff + 0.008 * step(0.10, 0.14, head[:, 1])
    thick *= 1 + 0.18 * noise(points, 0.035, 24)
    even = smooth(points, mesh.faces, 3, ~scalp)
    normals = vertex_normals(even, mesh.faces)
    return np.where(scalp[:, None], points + (share * thick)[:, None] * normals, points)


def hair(figure: Figure) -> list[Layer]:
    """A dense cap that no skin shows through, and two sheets of strands over it."""

    def paint(dark: float, seed: int) -> Paint:
        def colours(points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            way = _strands(figure, points)
            lock = np.arctan2(way[:, 0], way[:, 2])
            streak = np.sin(lock * 31 + 3 * noise(points, 0.02, seed)) * 0.5 + noise(points, 0.0035, seed + 1)
            colour = HAIR * (dark * (1 + 0.30 * streak))[:, None]
            return mix(colour, np.array([0.42, 0.27, 0.15]), np.clip(0.22 * streak, 0, 1)), np.full(
                len(points), 0.10
            )

        return colours

    def sheet(share: float, dark: float, pitch: float, **look: object) -> Layer:
        edge = -0.002 if share > 0.5 else 0.0
        return Layer(
            _hair_vertices(figure, share),
            lambda points, _: (
                (above_hairline(figure, points) > edge) & (points[:, 1] > figure.head[1] - 0.08)
            ),
            lambda points: np.full(len(points), pitch),
            paint(dark, int(100 * share)),
            lambda points: _strands(figure, points),
            detail=1.0,
            **look,  # type: ignore[arg-type]
        )

    return [
        sheet(0.45, 0.62, 0.0042),
        sheet(0.85, 0.95, 0.0040, stretch=(2.3, 0.55), rise=0.003),
        sheet(1.0, 1.15, 0.0046, stretch=(2.6, 0.50), rise=0.005),
    ]


def _stroke(x: np.ndarray, y: np.ndarray, ends: tuple[float, float, float, float]) -> np.ndarray:
    """Distance (N,) from a straight stroke between two points."""
    a, b = np.array(ends[:2]), np.array(ends[2:])
    t = np.clip(((x - a[0]) * (b - a)[0] + (y - a[1]) * (b - a)[1]) / ((b - a) @ (b - a)), 0, 1)
    return np.hypot(x - a[0] - t * (b - a)[0], y - a[1] - t * (b - a)[1])


_LETTERS = {  # strokes in a box from (-0.5, -0.5) to (0.5, 0.5)
    "H": ((-0.5, -0.5, -0.5, 0.5), (0.5, -0.5, 0.5, 0.5), (-0.5, 0, 0.5, 0)),
    "G": (
        *((0.5, 0.35, 0.3, 0.5), (0.3, 0.5, -0.3, 0.5), (-0.3, 0.5, -0.5, 0.3), (-0.5, 0.3, -0.5, -0.3)),
        *((-0.5, -0.3, -0.3, -0.5), (-0.3, -0.5, 0.5, -0.5), (0.5, -0.5, 0.5, 0), (0.5, 0, 0.1, 0)),
    ),
    "A": ((-0.5, -0.5, 0, 0.5), (0, 0.5, 0.5, -0.5), (-0.3, -0.12, 0.3, -0.12)),
}


def _print(points: np.ndarray) -> np.ndarray:
    """The share (N,) of ink in the print on the chest: three letters over three lines."""
    x, y, ink = points[:, 0], points[:, 1], np.zeros(len(points))
    for place, letter in enumerate("HGA"):
        u, v = (x - 0.088 * (place - 1)) / 0.058, (y - 1.27) / 0.088
        nearest = np.min(
            [_stroke(u, v * 1.5, (a, b * 1.5, c, d * 1.5)) for a, b, c, d in _LETTERS[letter]], axis=0
        )
        ink = np.maximum(ink, step(0.155, 0.105, nearest))
    for height, half in ((1.192, 0.0075), (1.171, 0.0050)):
        ink = np.maximum(ink, step(half + 0.001, half - 0.001, np.abs(y - height)) * (np.abs(x) < 0.117))
    return ink


def _paint_shirt(points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y, far = points[:, 0], points[:, 1], np.abs(points[:, 0])
    colour = CREAM * (1 + 0.025 * noise(points, 0.004, 31) + 0.02 * noise(points, 0.05, 32))[:, None]
    colour = mix(colour, CORAL, _print(points) * (normals[:, 2] > 0.1) * (points[:, 2] > 0))
    back = (normals[:, 2] < -0.1) & (points[:, 2] < 0.03)
    for height, half, dye in ((1.335, 0.017, NAVY), (1.296, 0.008, CORAL)):
        colour = mix(
            colour, dye, back * step(half + 0.0015, half - 0.0015, np.abs(y - height)) * (far < 0.16)
        )
    raglan = far - (0.205 - 0.55 * (y - 1.32))
    sleeve = step(-0.001, 0.002, raglan) * (y > 1.2)
    knit = 1 + 0.10 * np.sin(x * 900) * 0.5 + 0.06 * noise(points, 0.005, 33)
    colour = mix(colour, NAVY * knit[:, None], sleeve)
    for place, half, dye in ((0.335, 0.011, CREAM), (0.374, 0.009, CORAL), (CUFF - 0.022, 0.009, CREAM)):
        colour = mix(colour, dye, sleeve * step(half + 0.0015, half - 0.0015, np.abs(far - place)))
    seam = np.exp(-((raglan / 0.0028) ** 2)) * (y > 1.2) + np.exp(-(((y - HEM - 0.022) / 0.0022) ** 2))
    colour = mix(colour, np.array([0.32, 0.33, 0.36]), 0.55 * np.clip(seam, 0, 1))
    collar = step(-0.021, -0.0185, neckline(points)) * (far < 0.2)
    ribs = 1 + 0.12 * np.sin(np.arctan2(x, points[:, 2] - 0.01) * 90)
    return mix(colour, NAVY * ribs[:, None], collar), np.full(len(points), 0.05)


def _shirt_pitch(points: np.ndarray) -> np.ndarray:
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    printed = (np.abs(y - 1.23) < 0.10) & (x < 0.14) & (z > 0.02)
    shoulder = (np.abs(x - 0.17) < 0.07) & (y > 1.28)  # where a lowered arm pulls the cloth apart
    return np.select([printed, shoulder], [0.0042, 0.0050], 0.0072)


def shirt(figure: Figure) -> Layer:
    """A jersey with raglan sleeves to below the elbow, loose at the waist."""
    mesh, points = figure.mesh, figure.mesh.vertices
    worn = (np.abs(points[:, 0]) < 0.62) & (points[:, 1] > 0.8) & (neckline(points) < 0.02)
    even = smooth(points, mesh.faces, 14, ~worn)
    normals = vertex_normals(even, mesh.faces)
    far = np.abs(points[:, 0])
    arm = step(0.2, 0.3, far)
    ease = (
        0.010
        + 0.012 * step(1.25, 0.95, points[:, 1]) * (1 - arm)
        - 0.005 * step(-0.03, 0.0, neckline(points))
    )
    ease += arm * (0.006 + 0.006 * np.exp(-(((far - 0.46) / 0.05) ** 2)))
    torso = 0.0045 * noise(points * [1.0, 0.55, 1.0] + points[:, [1]] * [0.4, 0, 0.2], 0.05, 34) * (1 - arm)
    sleeve = 0.0035 * np.sin(far * 105 + 5 * noise(points, 0.09, 35)) * arm
    return Layer(
        even + (ease + torso * step(1.36, 1.2, points[:, 1]) + sleeve)[:, None] * normals,
        lambda p, q: (neckline(q) < 0) & (np.abs(q[:, 0]) < CUFF) & (q[:, 1] > HEM),
        _shirt_pitch,
        _paint_shirt,
    )


def _paint_trousers(points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    twill = 1 + 0.10 * np.sin((points @ [1.0, 0.8, 1.0]) * 520) * 0.6 + 0.10 * noise(points, 0.006, 41)
    colour = DENIM * (twill + 0.08 * noise(points, 0.07, 42))[:, None]
    worn = np.exp(-(((y - 0.66) / 0.13) ** 2)) + 0.7 * np.exp(-(((y - 0.46) / 0.05) ** 2))
    colour = mix(
        colour, np.array([0.45, 0.52, 0.61]), 0.42 * np.clip(worn, 0, 1) * step(0.2, 0.9, normals[:, 2])
    )
    angle = np.arctan2(z + 0.004, x - 0.11)
    lines = np.exp(-((angle * np.minimum(x, 0.17) / 0.0035) ** 2)) * (x > 0.12)
    lines = np.maximum(lines, np.exp(-(((y - ANKLE - 0.028) / 0.0028) ** 2)))
    pocket = np.abs(np.hypot((x - 0.165) * 1.1, y - 0.955) - 0.075)
    lines = np.maximum(lines, np.exp(-((pocket / 0.003) ** 2)) * (normals[:, 2] > 0.2) * (x < 0.165))
    seat = np.maximum(np.abs(x - 0.09) / 0.052, np.abs(y - 0.815) / 0.062)
    lines = np.maximum(lines, np.exp(-(((seat - 1) / 0.05) ** 2)) * (normals[:, 2] < -0.2))
    return mix(colour, THREAD, 0.75 * lines), np.full(len(points), 0.04)


def trousers(figure: Figure) -> Layer:
    """Straight jeans: as wide as the leg above the knee, hanging as a tube below it."""
    mesh, points = figure.mesh, figure.mesh.vertices
    worn = (points[:, 1] < 1.02) & (points[:, 1] > 0.1)
    even = smooth(points, mesh.faces, 10, ~worn)
    normals = vertex_normals(even, mesh.faces)
    folds = 0.004 * noise(points * [1, 1.6, 1], 0.06, 43) * np.exp(-(((points[:, 1] - 0.5) / 0.14) ** 2))
    folds += 0.004 * np.sin(points[:, 1] * 150 + 4 * noise(points, 0.08, 44)) * step(0.24, 0.12, points[:, 1])
    loose = even + (0.007 + 0.005 * step(0.8, 0.5, points[:, 1]) + folds)[:, None] * normals
    axis = np.stack([np.sign(points[:, 0]) * 0.110, np.full(len(points), -0.012)], axis=1)
    apart = loose[:, [0, 2]] - axis
    radius = np.linalg.norm(apart, axis=1)
    tube = 0.068 + folds
    wide = np.where(points[:, 1] < 0.13, tube, np.maximum(radius, tube * step(0.62, 0.40, points[:, 1])))
    hung = loose.copy()
    hung[:, [0, 2]] = axis + apart / radius[:, None] * wide[:, None]
    leg = (points[:, 1] < 0.7) & (np.abs(points[:, 0]) > 0.01)
    return Layer(
        np.where(leg[:, None], hung, loose),
        lambda p, q: (q[:, 1] < HEM + 0.015) & (q[:, 1] > ANKLE) & (np.abs(p[:, 0]) < 0.4),
        lambda p: np.full(len(p), 0.0074),
        _paint_trousers,
    )


def shoes(figure: Figure, count: int, rng: np.random.Generator) -> tuple[Samples, np.ndarray, np.ndarray]:
    """Candidates on a pair of sneakers: samples, colour and gloss.

    A shoe is the union of the convex hulls of slices of the foot, so that toes disappear in it.
    """
    vertices = figure.mesh.vertices
    tree, found = cKDTree(vertices), []
    for sign in (1, -1):
        own = (vertices[:, 1] < 0.098) & (sign * vertices[:, 0] > 0)
        foot = vertices[own] + figure.normals[own] * [0.007, 0.008, 0.009]
        foot[:, 1] = np.where(vertices[own, 1] < 0.02, -0.014 + 0.3 * vertices[own, 1], foot[:, 1])
        edges = np.linspace(foot[:, 2].min(), foot[:, 2].max(), 11)
        slices = [
            foot[(foot[:, 2] >= a - 1e-9) & (foot[:, 2] <= b + 1e-9)]
            for a, b in zip(edges, edges[3:], strict=False)
        ]
        found.append(_hull_union([ConvexHull(part) for part in slices], count // 2, rng))
    points = np.concatenate(found)
    distances, corners = tree.query(points, k=3)
    shares = 1 / (distances + 0.002)
    near = cKDTree(points).query(points, k=24)[1]
    centre = points[near].mean(axis=1)
    normals = _plane_normals(points[near] - centre[:, None], points - _inside(points))
    samples = Samples(points, normals, corners, shares / shares.sum(axis=1, keepdims=True))
    return samples, *_paint_shoes(points, normals)


def _inside(points: np.ndarray) -> np.ndarray:
    """A point (N, 3) within the shoe at each point's depth along it."""
    return np.stack(
        [np.sign(points[:, 0]) * 0.112, np.full(len(points), 0.022), points[:, 2].clip(-0.04, 0.15)], axis=1
    )


def _plane_normals(offsets: np.ndarray, outward: np.ndarray) -> np.ndarray:
    spread = np.einsum("nka,nkb->nab", offsets, offsets)
    normals = np.linalg.eigh(spread)[1][:, :, 0]
    return normals * np.where(np.einsum("na,na->n", normals, outward) < 0, -1.0, 1.0)[:, None]


def _hull_union(hulls: list[ConvexHull], count: int, rng: np.random.Generator) -> np.ndarray:
    """About `count` points on the outside of overlapping hulls."""
    kept = []
    for hull in hulls:
        points = scatter(hull.points, hull.simplices, count // 4, rng).points
        outside = np.ones(len(points), dtype=bool)
        for other in hulls:
            if other is not hull:
                depth = (points @ other.equations[:, :3].T + other.equations[:, 3]).max(axis=1)
                outside &= depth > -1e-9
        kept.append(points[outside])
    return np.concatenate(kept)


def _paint_shoes(points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = np.abs(points[:, 0]) - 0.112, points[:, 1], points[:, 2]
    colour = CORAL * (1 + 0.05 * noise(points, 0.004, 51))[:, None]
    colour = mix(colour, NAVY, step(-0.052, -0.058, z) * step(0.02, 0.03, y))
    slash = np.abs(y - 0.045 - 0.35 * (z - 0.03))
    colour = mix(
        colour,
        CREAM,
        step(0.008, 0.006, slash) * step(-0.03, -0.02, z) * step(0.09, 0.08, z) * (np.abs(x) > 0.022),
    )
    tongue = (np.abs(x) < 0.021) & (normals[:, 1] > 0.35) & (z > 0.035) & (z < 0.125)
    laces = step(0.35, 0.65, np.sin(z * 2 * np.pi / 0.0145) * 0.5 + 0.5)
    colour = mix(
        colour, mix(NAVY * np.ones((len(points), 1)), np.array([0.97, 0.96, 0.94]), laces), tongue * 1.0
    )
    toe = step(0.150, 0.154, z + 0.25 * y)
    colour = mix(colour, CREAM, toe * step(0.046, 0.04, y))
    sole = step(0.013, 0.0105, y)
    colour = mix(colour, np.array([0.95, 0.94, 0.92]), sole)
    return mix(colour, np.array([0.30, 0.25, 0.22]), step(-0.010, -0.0125, y)), np.full(len(points), 0.10)
