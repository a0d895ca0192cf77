import { LINUX_VXLAN_PORT } from "../../config/network.ts";
import { OVERHEAD } from "../../desired/vxlan.ts";
import type { Lease } from "../../lease/lease.ts";
import { FAMILIES } from "../../net/family.ts";
import { EVERYWHERE, explain } from "../../probe/verdict.ts";
import type { Facts } from "../facts.ts";
import type { FamilyStatus, PeerStatus } from "./peer-status.ts";

/** Why a peer is not up, and what to do about it. */
export interface Advice {
  readonly why: string | null;
  readonly fix: string | null;
}

/** @param parts the families that make its state what it is, the worst first */
export function adviceFor(facts: Facts, status: PeerStatus, parts: readonly FamilyStatus[]): Advice {
  const [worst] = parts;
  switch (status.state) {
    case "up":
      return { why: null, fix: null };
    case "leftOut":
      return leftOut(facts, status);
    case "notProgrammed":
      return worst?.device === undefined ? justCome(facts, status) : notProgrammed(facts, status, worst);
    case "unknown":
      return notProbed(facts);
    default:
      return worst === undefined ? notProbed(facts) : explained(facts, status, parts, worst);
  }
}

function leftOut(facts: Facts, { key, lease, leftOut: reason }: PeerStatus): Advice {
  const { kind, location } = facts.source;
  const where = `${kind} ${location}`;
  const why = `nothing is programmed for it: ${reason}`;
  if (lease !== undefined && lease.backendType !== "vxlan")
    return {
      why,
      fix: `let that node run with the backend vxlan: its lease ${key} in ${where} has ${lease.backendType}`,
    };
  return { why, fix: otherVni(facts, lease) ?? `mend its lease ${key} in ${where}, or remove it if the node is gone` };
}

function otherVni({ own, desired, snapshot }: Facts, lease: Lease | undefined): string | undefined {
  const family = FAMILIES.find((each) => lease?.vteps[each] && own?.vteps[each]?.vni !== lease.vteps[each].vni);
  const [ours, theirs] = family === undefined ? [] : [own?.vteps[family]?.vni, lease?.vteps[family]?.vni];
  if (ours === undefined || theirs === undefined) return undefined;
  const fix = `give all nodes one Backend.VNI, ${theirs} or ${ours}, and restart the agents that have the other one`;
  const isEverywhere =
    (snapshot?.leases.length ?? 0) > 2 && desired?.devices.every(({ neighbours }) => neighbours.size === 0);
  return isEverywhere ? `${EVERYWHERE}: ${fix}` : fix;
}

function justCome({ problems }: Facts, { key }: PeerStatus): Advice {
  const [problem] = problems;
  return {
    why: `its lease ${key} is not programmed yet${problem === undefined ? "" : `: ${problem.message}`}`,
    fix: problem === undefined ? "the next reconcile does it; /debug/state tells of the last one" : "see /readyz",
  };
}

function notProbed({ probes }: Facts): Advice {
  const there = "all that belongs to it is programmed";
  if (probes === undefined) {
    return { why: `${there}, but probes are off`, fix: "start the agent with --probe-interval above 0" };
  }
  if (probes.problem !== undefined) return { why: `${there}, but ${probes.problem}`, fix: null };
  return {
    why: `${there}, but it was not probed yet`,
    fix: "wait for its turn: there are at most 64 peers in a round",
  };
}

function explained(
  facts: Facts,
  { key, lease }: PeerStatus,
  parts: readonly FamilyStatus[],
  worst: FamilyStatus,
): Advice {
  const { family, verdict, device } = worst;
  const alike = parts.filter((part) => part.verdict === verdict);
  const devices = alike.flatMap((part) => part.device ?? []);
  const words = explain(verdict ?? "unknown", {
    families: alike.map((part) => `IPv${part.family}`).join(" and "),
    publicIP: lease?.publicIPs[family] ?? "its public address",
    local: device?.local ?? "this node",
    devices: devices.map(({ name }) => name),
    port: device?.port ?? LINUX_VXLAN_PORT,
    fullBytes: devices.map(({ mtu }) => mtu),
    outerBytes: (device?.mtu ?? 0) + OVERHEAD[family],
    lossPercent: lossPercent(facts.probes?.of(key, family)?.overlay),
    everywhere: facts.probes?.everywhere(family) === verdict,
  });
  return words ?? notProbed(facts);
}

function lossPercent({ sent, received }: { sent: number; received: number } = { sent: 0, received: 0 }): number {
  return sent === 0 ? 0 : (1 - received / sent) * 100;
}

function notProgrammed(facts: Facts, { lease }: PeerStatus, { family, subnet, device, has }: FamilyStatus): Advice {
  const { route = false, neighbour = false, forwarding = false } = has ?? {};
  const name = device?.name ?? "";
  const mac = lease?.vteps[family]?.mac;
  const destination = `${subnet.address}/${subnet.length}`;
  const publicIP = lease?.publicIPs[family];
  // As the kernel's refusals name them.
  const objects = [name, destination, `${subnet.address} at ${mac}`, `${mac} to ${publicIP}`];
  const missing = [
    ...(route ? [] : [`the route to ${destination}`]),
    ...(neighbour ? [] : [`the neighbour ${subnet.address}`]),
    ...(forwarding ? [] : [`the forwarding entry of ${mac}`]),
  ];
  const refusal = facts.kernel.failures.find(({ object }) => objects.includes(object));
  const broken = facts.problems.find(({ condition, message }) => condition === "device" && message.includes(name));
  const cause = refusal?.message ?? broken?.message;
  const is = missing.length === 1 ? "is" : "are";
  return {
    why: `on ${name} ${missing.join(" and ")} ${is} not as wanted${cause === undefined ? "" : `: ${cause}`}`,
    fix:
      refusal === undefined
        ? "the agent mends it by itself; where it comes again and again another program undoes it, see /debug/events"
        : "the agent tries again by itself; /debug/diff has all that is left to be done",
  };
}
