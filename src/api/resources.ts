import type * as v from "valibot";
import { EventList } from "./events.ts";
import { Desired, Diff, KernelState } from "./kernel.ts";
import { LeaseList, OwnLease } from "./leases.ts";
import { Peer, PeerList } from "./peers.ts";
import type { QueryName } from "./queries.ts";
import { RulesInFull } from "./rules.ts";
import { Config, ExternalInterface, State } from "./state.ts";

export interface Resource {
  /** in hono's form, with `:node` for a node's name or a lease's key */
  readonly path: string;
  readonly summary: string;
  readonly schema: v.GenericSchema;
  /** beside `pretty`, which all take */
  readonly query: readonly QueryName[];
}

const LIST = ["limit", "offset"] as const;

/** All that can be read at `--debug-addr`: routes, OpenAPI, `tartan get` and the completions follow from it. */
export const RESOURCES = {
  state: { path: "/debug/state", summary: "everything in short", schema: State, query: [] },
  config: { path: "/debug/config", summary: "flags and the network's configuration", schema: Config, query: [] },
  interface: {
    path: "/debug/interface",
    summary: "the interface that carries the packets between nodes",
    schema: ExternalInterface,
    query: [],
  },
  lease: { path: "/debug/lease", summary: "this node's lease and the lease source", schema: OwnLease, query: [] },
  leases: {
    path: "/debug/leases",
    summary: "all nodes' leases",
    schema: LeaseList,
    query: ["family", "node", ...LIST],
  },
  desired: {
    path: "/debug/desired",
    summary: "what the kernel should have",
    schema: Desired,
    query: ["family", "node", ...LIST],
  },
  kernel: {
    path: "/debug/kernel",
    summary: "what the kernel has",
    schema: KernelState,
    query: ["family", "node", ...LIST],
  },
  diff: {
    path: "/debug/diff",
    summary: "what would have to be done",
    schema: Diff,
    query: ["family", "node", ...LIST],
  },
  rules: { path: "/debug/rules", summary: "the masquerade and forward rules", schema: RulesInFull, query: [] },
  events: {
    path: "/debug/events",
    summary: "the last things that happened; as a live stream with ?follow or Accept: text/event-stream",
    schema: EventList,
    query: ["node", "kind", "since", "follow", ...LIST],
  },
  peers: {
    path: "/debug/peers",
    summary: "every other node as this one sees it, trouble first",
    schema: PeerList,
    query: ["family", "node", ...LIST],
  },
  peer: { path: "/debug/peers/:node", summary: "one other node", schema: Peer, query: [] },
} as const satisfies Readonly<Record<string, Resource>>;

export type ResourceName = keyof typeof RESOURCES;
