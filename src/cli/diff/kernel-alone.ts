import type { NamedChange } from "../../kernel/changes.ts";
import type { Actual } from "../../kernel/mirror.ts";
import { type KernelPeer, kernelPeers } from "../kernel-peers.ts";
import { ownDevices, type SubnetEnvFile } from "../local-node.ts";

/**
 * What is wrong with the kernel's state whatever is desired: parts of a peer without the others, devices that subnet.env
 * names and that are missing, down, or without their address. Pure.
 */
export function contradictions(actual: Actual, { content }: SubnetEnvFile): NamedChange[] {
  const devices = ownDevices(actual);
  const missing = (content?.devices ?? [])
    .filter((name) => !devices.some((device) => device.name === name))
    .map((name): NamedChange => ({ action: "add", kind: "link", object: name, why: "subnet.env names it" }));
  const down = devices
    .filter(({ up }) => !up)
    .map(({ name }): NamedChange => ({ action: "change", kind: "link", object: name, why: "it is down" }));
  const bare = devices
    .filter(({ index }) => (actual.addresses.get(index) ?? []).every(({ address }) => isLinkLocal(address)))
    .map(({ name }): NamedChange => {
      return {
        action: "add",
        kind: "address",
        object: `of ${name}`,
        why: "it has none, so packets of this node have no source",
      };
    });
  return [...missing, ...down, ...bare, ...kernelPeers(actual).flatMap(partsOf)];
}

function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/.test(address);
}

function partsOf(peer: KernelPeer): NamedChange[] {
  const { subnet, device, vtepAddress, vtepMAC, publicIP, missing } = peer;
  const objects = {
    route: subnet ?? `by way of ${vtepAddress ?? vtepMAC}`,
    neighbour: vtepAddress ?? `with the MAC ${vtepMAC}`,
    forwarding: `${vtepMAC}`,
  };
  const owner = subnet ?? vtepAddress ?? vtepMAC ?? "";
  const others = [
    ...(subnet === undefined ? [] : ["a route"]),
    ...(vtepAddress === undefined || vtepMAC === undefined ? [] : ["a neighbour"]),
    ...(publicIP === undefined ? [] : ["a forwarding entry"]),
  ];
  return missing.map((kind) => ({
    action: "add",
    kind,
    object: `${objects[kind]} on ${device}`,
    why: `${owner} has ${others.join(" and ") || "nothing else"}, and not this`,
  }));
}
