import type * as v from "valibot";
import type * as api from "../../api/peers.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { Facts } from "../facts.ts";
import type { Question } from "../question.ts";
import { Refusal } from "../refusals.ts";
import { isOf } from "./leases.ts";
import { pageOf } from "./page.ts";
import { adviceFor } from "./peer-advice.ts";
import { countStates, type FamilyStatus, type PeerStatus, peerStatus, peerStatuses } from "./peer-status.ts";
import { probeView } from "./probe.ts";
import { familyName, time } from "./values.ts";

/** Every other node, as this one sees it. */
export async function peersView(facts: Facts, question: Question): Promise<v.InferOutput<typeof api.PeerList>> {
  const { family, node } = question.query;
  const all = await peerStatuses(facts, family === undefined ? undefined : [family === "ipv4" ? 4 : 6]);
  const asked = node === undefined ? all : peersOf(facts, all, node);
  return {
    ...(await pageOf(asked, question, (status) => peerView(facts, status))),
    counts: countStates(asked),
    probeIntervalMs: facts.probes?.intervalMs ?? null,
  };
}

/** One of them, by its node's name or its lease's key. */
export function onePeerView(facts: Facts, { node = "" }: Question): api.Peer {
  const [status] = peersOf(facts, peerStatus(facts, node), node);
  if (status === undefined) throw new Refusal(404, `there is no peer ${node}`);
  return peerView(facts, status);
}

function peersOf(facts: Facts, all: readonly PeerStatus[], name: string): PeerStatus[] {
  const found = all.filter((status) => isOf(status, name));
  if (found.length > 0) return found;
  const { own, node } = facts;
  const isSelf = name === node || (own !== undefined && isOf(own, name));
  if (isSelf) throw new Refusal(404, `${name} is this node itself, not a peer; /debug/lease has its lease`);
  throw new Refusal(
    404,
    `there is no peer ${name}: no lease is of a node of that name or has this key; /debug/peers has them all`,
  );
}

function peerView(facts: Facts, status: PeerStatus): api.Peer {
  const { key, node, state, lease, families } = status;
  const wanted = families.filter(({ device }) => device !== undefined);
  const deciding = (wanted.length > 0 ? wanted : families).filter((part) => part.state === state);
  const [worst] = deciding;
  const isProbed = state === "down" || state === "degraded" || state === "up";
  const view: api.Peer = {
    key,
    node: node ?? null,
    state,
    since: time(isProbed && worst !== undefined ? facts.probes?.of(key, worst.family)?.since : undefined),
    ...adviceFor(facts, status, deciding),
  };
  for (const part of families) {
    const { family } = part;
    const probe = facts.probes?.of(key, family);
    view[familyName(family)] = {
      subnet: formatPrefix(part.subnet),
      publicIP: lease?.publicIPs[family] ?? null,
      vtepMAC: lease?.vteps[family]?.mac ?? null,
      device: part.device?.name ?? null,
      kernel: kernelPart(part),
      probe: probe === undefined ? null : probeView(probe),
    };
  }
  return view;
}

function kernelPart({ has }: FamilyStatus) {
  return has === undefined ? null : { ...has };
}
