import { labelOf } from "./apply.ts";
import type { Operation } from "./operations.ts";

/** An operation in words, for whoever reads a plan. */
export interface NamedChange {
  readonly action: "add" | "change" | "remove";
  /** route, neighbour, forwarding, link, address, … */
  readonly kind: string;
  readonly object: string;
  readonly why: string;
}

const ACTIONS: Readonly<Record<string, NamedChange["action"]>> = { add: "add", delete: "remove", change: "change" };

export function nameChange(operation: Operation): NamedChange {
  const [kind = operation.kind, verb = ""] = operation.kind.split("-");
  const { object } = labelOf(operation);
  // A replacement adds what is missing, and changes what is there.
  const replaces = operation.why === "it is missing" ? "add" : "change";
  return { action: ACTIONS[verb] ?? replaces, kind, object, why: operation.why };
}
