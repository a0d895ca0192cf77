import type { Event, EventList } from "../../api/events.ts";
import type { Facts } from "../facts.ts";
import type { Shown } from "../items.ts";
import type { Question } from "../question.ts";
import { isOf } from "./leases.ts";
import { pageOf } from "./page.ts";

/** Whether an event is among those that were asked for. */
export function eventFilter(facts: Pick<Facts, "snapshot">, { query }: Question): (event: Event) => boolean {
  const { node: asked, kind: kinds, since } = query;
  // An event may name the node or its lease's key; either can be asked for, also once the lease is gone.
  const lease = asked === undefined ? undefined : facts.snapshot?.leases.find((one) => isOf(one, asked));
  const names = asked === undefined ? undefined : new Set([asked, lease?.key, lease?.node]);
  return ({ id, at, kind, node }) =>
    (names === undefined || (node !== null && names.has(node))) &&
    (kinds === undefined || kinds.includes(kind)) &&
    (since === undefined || ("id" in since ? id > since.id : Date.parse(at) > since.time));
}

export async function eventsView(facts: Facts, question: Question): Promise<Shown<typeof EventList>> {
  const kept = facts.events.after();
  return {
    ...(await pageOf(kept.filter(eventFilter(facts, question)), question, (event) => event)),
    oldest: kept[0]?.id ?? null,
  };
}
