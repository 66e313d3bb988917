"""A stand-in for a model that answers with what LoCoMo ships: observations as facts and contexts, session summaries.

They were written by a large model for the data set, and name their turns; so what a system would make of good facts and
summaries can be measured without a model. It is no baseline that anybody could run: rows with it are marked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slowwave.models.oracle import Oracle
from slowwave.ops.extraction import shortened
from slowwave.ops.keyphrases import keyphrases

MOST = 24  # facts that one reply may give
CONTEXT = 240  # characters


class _Shipped:
    """What the files say of each turn and session, found by who said what."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.turns: dict[tuple[str, str], list[tuple[str, str]]] = {}  # (who, words) -> [(conversation, turn)]
        self.facts: dict[tuple[str, str], list[str]] = {}  # (conversation, turn) -> statements
        self.summaries: dict[tuple[str, str], str] = {}  # (conversation, session) -> summary
        for file in files:
            self._read(file.stem, json.loads(file.read_text(encoding="utf-8")))

    def _read(self, name: str, data: Mapping[str, Any]) -> None:
        talk = data["conversation"]
        for key in (key for key in talk if re.fullmatch(r"session_\d+", key)):
            number = key.removeprefix("session_")
            self.summaries[name, number] = data["session_summary"].get(f"{key}_summary", "")
            for turn in talk[key]:
                caption = turn.get("blip_caption")
                said = turn["text"].strip() + (f" [image: {caption}]" if caption else "")
                self.turns.setdefault((turn["speaker"], shortened(said)), []).append((name, turn["dia_id"]))
            for told in data["observation"].get(f"{key}_observation", {}).values():
                for statement, where in told:
                    ids = re.findall(r"D\d+:\d+", " ".join(where) if isinstance(where, list) else where)
                    for id_ in ids[:1]:
                        self.facts.setdefault((name, id_), []).append(statement)

    def places(self, turns: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
        """A turn's number in the prompt -> (conversation, turn); of equal words, those of the others' session."""
        options = {turn["id"]: self.turns.get((turn["who"], turn["said"]), []) for turn in turns}
        votes: dict[tuple[str, str], int] = {}
        for found in options.values():
            for name, id_ in found:
                votes[name, id_.split(":")[0]] = votes.get((name, id_.split(":")[0]), 0) + 1
        out = {}
        for number, found in options.items():
            if found:
                out[number] = max(found, key=lambda one: votes[one[0], one[1].split(":")[0]])
        return out


def locomo_oracle(files: Sequence[Path]) -> Oracle:
    """A model that knows these conversations: operations "facts", "annotations" and "digest"."""
    shipped = _Shipped(files)

    def facts(inputs: dict[str, Any]) -> dict[str, Any]:
        turns = {turn["id"]: turn for turn in inputs["turns"]}
        items = [  # the files name no attribute and no value: the turn's own words stand for what was said
            {
                "said_in": [n],
                "subject": turns[n]["who"],
                "attribute": "event",
                "value": turns[n]["said"][:60],
                "fact": fact[:300],
            }
            for n, place in shipped.places(inputs["turns"]).items()
            for fact in shipped.facts.get(place, [])
        ]
        return {"items": items[:MOST]}

    def annotations(inputs: dict[str, Any]) -> dict[str, Any]:
        places = shipped.places(inputs["turns"])
        told = {n: " ".join(shipped.facts.get(places[n], [])) for n in inputs["annotate"] if n in places}
        items = [
            {"id": n, "keywords": list(keyphrases([said], 6)), "context": said[:CONTEXT], "tags": []}
            for n, said in told.items()
            if said
        ]
        return {"items": items}

    def digest(inputs: dict[str, Any]) -> dict[str, Any]:
        places = list(shipped.places(inputs["turns"]).values())
        sessions = list(dict.fromkeys((name, id_.split(":")[0].removeprefix("D")) for name, id_ in places))
        summary = " ".join(shipped.summaries.get(session, "") for session in sessions[:1])
        facts_ = [fact for place in places for fact in shipped.facts.get(place, [])]
        return {
            "summary": summary[:1200] or "Nothing.",
            "keywords": list(keyphrases(facts_ or [summary], 16)) or ["none"],
        }

    return Oracle({"facts": facts, "annotations": annotations, "digest": digest})
