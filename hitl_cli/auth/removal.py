"""Ends the sessions, tokens and links of a person. All gateways reject them within seconds.

Their decisions that could still be undone are dropped (hitl_cli/auth/held_decisions.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.auth import tokens
from hitl_cli.auth.ended import end, person_subject
from hitl_cli.auth.signing_keys import LONGEST_LIFE_MS

if TYPE_CHECKING:
    from hitl_cli.auth.tokens import Token
    from hitl_cli.client.protocol import Client
    from hitl_cli.people.groups import Groups


def remove(client: Client, person: str, groups: Groups, *, by: str, via: str) -> list[Token]:
    """End the sessions, tokens and links that a person has now. Returns the tokens.

    What is made for them later is valid: the settings say whether they may sign in again.
    """
    end(client, person_subject(person, groups), life_ms=LONGEST_LIFE_MS, by=by, via=via)
    own = [one for one in tokens.list_tokens(client) if groups.same(one.person, person)]
    return [one for one in own if one.state == "valid" and tokens.revoke(client, one.id, by=by)]
