import type * as api from "../../api/peers.ts";
import { show } from "../../config/schema.ts";
import type { Lease, RejectedLease } from "../../lease/lease.ts";
import { FAMILIES } from "../../net/family.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { Facts } from "../facts.ts";
import type { Shown } from "../items.ts";
import type { Question } from "../question.ts";
import { Refusal } from "../refusals.ts";
import { isOf } from "./leases.ts";
import { pageOf } from "./page.ts";
import { adviceFor } from "./peer-advice.ts";
import { type FamilyStatus, orderPeers, PeerLook, type PeerOrder, type PeerStatus } from "./peer-status.ts";
import { probeView } from "./probe.ts";
import { familyName, familyNamed, time } from "./values.ts";

/** Every other node, as this one sees it; with a family, as far as that goes. */
export async function peersView(facts: Facts, question: Question): Promise<Shown<typeof api.PeerList>> {
  const { family, node } = question.query;
  const look = new PeerLook(facts, family === undefined ? FAMILIES : [familyNamed(family)]);
  const { peers, counts } = node === undefined ? await orderPeers(look) : only(peersOf(facts, look, node), look);
  return {
    ...(await pageOf(peers, question, (peer) => peerView(facts, look.at(peer)))),
    counts,
    probeIntervalMs: facts.probes?.intervalMs ?? null,
  };
}

/** One of them, by its node's name or its lease's key. */
export function onePeerView(facts: Facts, { node = "" }: Question): api.Peer {
  const look = new PeerLook(facts);
  const [peer] = peersOf(facts, look, node);
  return peerView(facts, look.at(peer));
}

type Found = readonly [Lease | RejectedLease, ...(Lease | RejectedLease)[]];

/** Those that are of a node of this name, or whose lease has this key: one as a rule. @throws Refusal if there is none */
function peersOf(facts: Facts, look: PeerLook, name: string): Found {
  const { own, node } = facts;
  const leases = look.leases().filter((lease) => isOf(lease, name));
  const [first, ...others] = [...leases, ...look.rejected().filter((lease) => isOf(lease, name))];
  if (first !== undefined) return [first, ...others];
  const isSelf = name === node || (own !== undefined && isOf(own, name));
  if (isSelf) throw new Refusal(404, `${name} is this node itself, not a peer; /debug/lease has its lease`);
  throw new Refusal(
    404,
    `there is no peer ${show(name)}: no lease is of a node of that name or has this key; /debug/peers has them all`,
  );
}

function only(peers: Found, look: PeerLook): PeerOrder {
  const counts = { down: 0, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 0 };
  for (const peer of peers) counts[look.at(peer).state]++;
  return { peers, counts };
}

/** The states that the probes tell of, and since when. */
const PROBED: readonly api.PeerState[] = ["down", "degraded", "up"];

function peerView(facts: Facts, status: PeerStatus): api.Peer {
  const { key, node, state, lease, families } = status;
  const wanted = families.filter(({ device }) => device !== undefined);
  const deciding = (wanted.length > 0 ? wanted : families).filter((part) => part.state === state);
  const probes = families.map(({ family }) => facts.probes?.of(key, family));
  const view: api.Peer = {
    key,
    node: node ?? null,
    state,
    since: null,
    ...adviceFor(facts, status, deciding),
  };
  for (const [at, part] of families.entries()) {
    const { family } = part;
    const probe = probes[at];
    view[familyName(family)] = {
      subnet: formatPrefix(part.subnet),
      publicIP: lease?.publicIPs[family] ?? null,
      vtepMAC: lease?.vteps[family]?.mac ?? null,
      device: part.device?.name ?? null,
      kernel: kernelPart(part),
      probe: probe === undefined ? null : probeView(probe),
    };
    if (part === deciding[0] && PROBED.includes(state)) view.since = time(probe?.since);
  }
  return view;
}

function kernelPart({ has }: FamilyStatus) {
  return has === undefined ? null : { ...has };
}
