"""What was published on path-star and on lines that cross; exact match on held-out problems."""

from unforced.tasks.published import Source, table

PITFALLS = Source("The pitfalls of next-token prediction", "2403.06963", "Sec. 4 (task), App. (token format)")
MYSTERY = Source("The mystery of the pathological path-star task", "2410.13779", "settings of the prompt")
TOP = Source("TOP", "2508.19228", "Table 5")
NEXTLAT = Source("NextLat", "2511.05963", "Fig. 6 (read off the figure)")
ILM = Source("ILM", "2505.05755", "its table of star graphs")

_EXACT = "exact, held out"

STARS = (
    *table(
        TOP,
        _EXACT,
        [f"{star}, N=30, 300,000 problems" for star in ("G(3,3)", "G(3,5)", "G(5,3)", "G(5,5)")],
        {
            "next_token": (0.338, 0.325, 0.195, 0.001),
            "multi_token, 2 parallel heads": (1.0, 0.590, 0.196, 0.001),
            "multi_token, 4 parallel heads": (1.0, 1.0, 1.0, 0.195),
            "multi_token, 2 sequential heads": (1.0, 0.325, 1.0, 0.192),
            "multi_token, 4 sequential heads": (1.0, 0.336, 1.0, 0.193),
            "token_order": (1.0, 1.0, 1.0, 1.0),
        },
    ),
    *table(
        NEXTLAT,
        _EXACT,
        [f"{star}, N=100, 200,000 problems" for star in ("G(2,10)", "G(5,5)", "G(7,7)")],
        {
            "next_token": (0.494, 0.186, 0.126),
            "multi_token": (0.662, 0.212, 0.126),
            "joint": (0.695, 0.473, 0.117),
            "belief_state": (0.989, 0.999, 0.097),
            "next_latent": (0.971, 0.998, 0.943),
        },
    ),
    *table(
        ILM,
        _EXACT,
        ["G(3,5), N=20, 50,000 problems; edges as pairs, answers as edges"],
        {"next_token": (0.323,), "masked": (1.0,), "insertion": (1.0,)},
    ),
)

CROSSING = table(
    ILM,
    _EXACT,
    [f"{name}, 50,000 problems; edges as pairs, answers as edges" for name in ("medium", "hard")],
    {"next_token": (0.750, 0.230), "masked": (0.365, 0.210), "insertion": (1.0, 0.991)},
)
