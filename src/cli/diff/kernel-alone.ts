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
  const { subnet, device, vtepAddress, vtepMAC, missing } = peer;
  if (vtepAddress === undefined) {
    const why = "neither a neighbour nor a route leads to it";
    return [{ action: "remove", kind: "forwarding", object: `${vtepMAC} on ${device}`, why }];
  }
  const objects = { route: `by way of ${vtepAddress}`, neighbour: vtepAddress, forwarding: `${vtepMAC}` };
  const why = `${subnet ?? vtepAddress} lacks it`;
  return missing.map((kind) => ({ action: "add", kind, object: `${objects[kind]} on ${device}`, why }));
}
