import { nthAddress, parsePrefix } from "../../../net/prefix.ts";
import { type Check, error, type Finding, NotApplicable, orOk, plural } from "../check.ts";
import { type KernelPeer, nameOf, type Part } from "../kernel-picture.ts";

/** Whether the kernel's entries for the other nodes belong together, whatever the agent knows of them. */

/** More than these are only counted. */
const MOST = 5;

/** A packet to a node's pods needs all three. Pure. */
export function judgeEntries(peers: readonly KernelPeer[]): readonly Finding[] {
  const incomplete = peers.filter(({ missing }) => missing.length > 0);
  const findings = incomplete.slice(0, MOST).map((peer) => {
    const what = peer.missing.map((part) => describe(part, peer)).join(" and ");
    const target = peer.subnet && parsePrefix(peer.subnet);
    const trace = target ? `\nby hand: tartan trace ${nthAddress(target, 1n)} has the command` : "";
    return error(
      `${nameOf(peer)} lacks ${what}, so packets to that node's pods are lost, and answers to them`,
      `start the agent, or restart it: it adds what is missing${trace}`,
    );
  });
  const rest = incomplete.length - MOST;
  if (rest > 0) findings.push(error(`${plural(rest, "more node")} lack entries`, "tartan diff shows them all"));
  const complete = `all that the kernel has of ${plural(peers.length, "other node")} is complete`;
  return orOk(findings, peers.length === 0 ? "the kernel has no other node" : complete);
}

function describe(part: Part, { device, vtepMAC, vtepAddress }: KernelPeer): string {
  if (part === "forwarding") return `its forwarding entry (FDB), of ${vtepMAC} on ${device}`;
  return part === "neighbour" ? `its neighbour entry, of ${vtepAddress} on ${device}` : `its route, by ${device}`;
}

const entries: Check = {
  group: "Kernel",
  name: "entries",
  find: (context) => {
    const { ownDevices, peers } = context.kernel();
    if (ownDevices.length === 0) throw new NotApplicable("there is no VXLAN device of tartan or flannel");
    return judgeEntries(peers);
  },
};

export const ENTRY_CHECKS = [entries];
