import type { Peer, PeerState } from "../../api/peers.ts";
import type { FamilyName } from "../../api/values.ts";
import type { Family } from "../../net/family.ts";
import { type KernelPeer, nameOf } from "../kernel-peers.ts";
import { age, type Row } from "../output.ts";
import { STATE_WORDS } from "../peer-words.ts";
import type { Colour, Column } from "../table.ts";

/** Peers as rows of tables. Pure. */

const COLOURS: Readonly<Record<PeerState, Colour | undefined>> = {
  down: "red",
  notProgrammed: "red",
  leftOut: "yellow",
  degraded: "yellow",
  unknown: "dim",
  up: undefined,
};

/** Whether pods there can't be reached, or not well. */
export function isInTrouble(state: PeerState): boolean {
  return state !== "up" && state !== "unknown";
}

const FAMILY_NAMES: readonly FamilyName[] = ["ipv4", "ipv6"];

export const FAMILY_OF: Readonly<Record<FamilyName, Family>> = { ipv4: 4, ipv6: 6 };

export const PEER_COLUMNS: readonly Column[] = [
  { title: "NODE", shrink: 16 },
  { title: "STATE" },
  { title: "SINCE", align: "right" },
  { title: "LOSS", align: "right" },
  { title: "RTT", align: "right" },
  { title: "WHY", shrink: 12 },
];

/** One row for each, with the worse of two families. */
export function peerRow(peer: Peer, now = Date.now()): Row {
  const overlays = FAMILY_NAMES.flatMap((name) => peer[name]?.probe?.overlay ?? []);
  const cells = [
    peer.node ?? peer.key,
    STATE_WORDS[peer.state],
    age(peer.since, now),
    percent(worst(overlays.map(({ lossPercent }) => lossPercent))),
    milliseconds(worst(overlays.map(({ p50Ms, lastMs }) => p50Ms ?? lastMs))),
    peer.why ?? "",
  ];
  return { cells, colour: COLOURS[peer.state] };
}

export const WIDE_PEER_COLUMNS: readonly Column[] = [
  ...[{ title: "NODE" }, { title: "STATE" }, { title: "SINCE", align: "right" as const }],
  ...[{ title: "FAMILY" }, { title: "SUBNET" }, { title: "PUBLIC ADDRESS" }, { title: "VTEP MAC" }],
  ...["LOSS", "RTT", "P99", "UNDERLAY LOSS"].map((title) => ({ title, align: "right" as const })),
  ...[{ title: "MTU" }, { title: "WHY" }, { title: "FIX" }],
];

/** One row for each family of each. */
export function widePeerRows(peer: Peer, now = Date.now()): Row[] {
  return FAMILY_NAMES.flatMap((name) => {
    const one = peer[name];
    if (one === undefined) return [];
    const { overlay, underlay, mtu } = one.probe ?? {};
    const passes =
      mtu?.passes === null || mtu === undefined ? "-" : `${mtu.bytes} ${mtu.passes ? "passes" : "is lost"}`;
    const cells = [
      ...[peer.node ?? peer.key, STATE_WORDS[peer.state], age(peer.since, now), `IPv${FAMILY_OF[name]}`],
      ...[one.subnet, one.publicIP ?? "-", one.vtepMAC ?? "-"],
      ...[percent(overlay?.lossPercent), milliseconds(overlay?.p50Ms), milliseconds(overlay?.p99Ms)],
      ...[percent(underlay?.lossPercent), passes, peer.why ?? "", peer.fix ?? ""],
    ];
    return [{ cells, colour: COLOURS[peer.state] }];
  });
}

export const KERNEL_PEER_COLUMNS: readonly Column[] = [
  { title: "SUBNET", shrink: 18 },
  { title: "VTEP MAC" },
  { title: "PUBLIC ADDRESS", shrink: 15 },
  { title: "IN THE KERNEL", shrink: 12 },
];

export function kernelPeerRow(peer: KernelPeer): Row {
  const { vtepMAC, publicIP, missing } = peer;
  const state = missing.length === 0 ? "complete" : `lacks ${missing.join(", ")}`;
  return {
    cells: [nameOf(peer), vtepMAC ?? "-", publicIP ?? "-", state],
    colour: missing.length === 0 ? undefined : "red",
  };
}

function worst(values: readonly (number | null)[]): number | undefined {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? undefined : Math.max(...known);
}

function percent(value: number | null | undefined): string {
  return value === null || value === undefined ? "-" : `${Math.round(value)} %`;
}

function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "-";
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}
