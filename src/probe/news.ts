import type { EventKind } from "../api/events.ts";
import type { Verdict } from "../api/peers.ts";
import type { Change } from "./engine.ts";

/** What is to be told of changed verdicts, in the form of an event. */
export interface News {
  readonly kind: Extract<EventKind, "peerDown" | "peerDegraded" | "peerUp" | "peersChanged">;
  readonly level: "info" | "warning";
  readonly message: string;
  readonly node?: string;
  readonly cause?: string;
  /** milliseconds: how long it had been otherwise */
  readonly durationMs?: number;
}

type Kind = Exclude<News["kind"], "peersChanged">;

/** Of more than these in one round only the number is told, and the first names. */
const MOST = 5;

function kindOf(verdict: Verdict): Kind {
  if (verdict === "overlayBlocked" || verdict === "unreachable") return "peerDown";
  return verdict === "lossy" || verdict === "mtuTooSmall" ? "peerDegraded" : "peerUp";
}

const WORDS: Readonly<Record<Kind, string>> = {
  peerDown: "do not answer through the overlay",
  peerDegraded: "answer, but packets get lost",
  peerUp: "are reachable again",
};

/** That a new peer is reachable is as it should be, and that one is not known any more is no news of it: neither is told. Pure. */
export function newsOf(changes: readonly Change[]): News[] {
  const told = changes.filter(({ from, to }) => to !== "unknown" && (from !== "unknown" || kindOf(to) !== "peerUp"));
  const byKind = Map.groupBy(told, ({ to }) => kindOf(to));
  return [...byKind].flatMap(([kind, these]) => (these.length <= MOST ? these.map(one) : [many(kind, these)]));
}

function levelOf(kind: Kind): News["level"] {
  return kind === "peerUp" ? "info" : "warning";
}

function nameOf({ peer }: Change): string {
  return peer.node ?? peer.key;
}

function one(change: Change): News {
  const { to, families, why, fix, heldMs } = change;
  const kind = kindOf(to);
  const name = nameOf(change);
  const way = families.map((family) => `IPv${family}`).join(" and ");
  const message = why === undefined ? `peer ${name} is reachable again (${way})` : `peer ${name}: ${why}: ${fix}`;
  return {
    ...{ kind, level: levelOf(kind), message, node: name },
    ...(why === undefined ? {} : { cause: why }),
    ...(heldMs === undefined ? {} : { durationMs: heldMs }),
  };
}

function many(kind: Kind, changes: readonly Change[]): News {
  const names = [...new Set(changes.map(nameOf))];
  const first = names.slice(0, MOST).join(", ");
  const message = `${names.length} peers ${WORDS[kind]}: ${first}${names.length > MOST ? ", …" : ""}`;
  return { kind: "peersChanged", level: levelOf(kind), message };
}
