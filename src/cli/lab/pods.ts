import { readFileSync } from "node:fs";
import { parseSubnetEnv } from "../../config/subnet-env.ts";
import type { Address } from "../../net/address.ts";
import { familiesOf, mapFamilies, type PerFamily } from "../../net/family.ts";
import { nthAddress, type Prefix } from "../../net/prefix.ts";
import { addressCommand, ip } from "./ip.ts";
import type { LabNode } from "./plan.ts";

/** A node's slice of the pod network, as its subnet.env tells it. */
interface PodNetwork {
  readonly subnets: PerFamily<Prefix>;
  /** bytes */
  readonly mtu: number;
}

/** of the node's bridge */
function gatewayIn(subnet: Prefix): Address {
  return nthAddress(subnet, 1n);
}

/** The pod's address: the first after the bridge's. */
export function podAddressIn(subnet: Prefix): Address {
  return nthAddress(subnet, 2n);
}

function addAddresses({ subnets }: PodNetwork, addressIn: (subnet: Prefix) => Address, device: string): string[] {
  return Object.values(mapFamilies(subnets, (subnet) => addressCommand(addressIn(subnet), subnet.length, device)));
}

/** `ip` commands for the node's namespace: a bridge with the pod's veth, as a CNI plugin makes it. */
function bridgeCommands({ podNamespace }: LabNode, network: PodNetwork): string[] {
  const { mtu } = network;
  return [
    `link add cni0 mtu ${mtu} type bridge`,
    ...addAddresses(network, gatewayIn, "cni0"),
    "link set cni0 up",
    `link add pod mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${podNamespace}`,
    "link set pod master cni0 up",
  ];
}

/** `ip` commands for the pod's namespace. */
function podCommands(network: PodNetwork): string[] {
  const routes = mapFamilies(network.subnets, (subnet) => `route add default via ${gatewayIn(subnet)} dev eth0`);
  return [
    "link set lo up",
    ...addAddresses(network, podAddressIn, "eth0"),
    "link set eth0 up",
    ...Object.values(routes),
  ];
}

/**
 * Attaches the node's pod to the subnets that its subnet.env names.
 * @returns the pod's addresses
 * @throws Error if subnet.env can't be read or lacks a family of the node's
 */
export async function attachPod(node: LabNode, signal: AbortSignal): Promise<PerFamily<Address>> {
  const network = readPodNetwork(node);
  await ip(bridgeCommands(node, network), { namespace: node.namespace, signal });
  await ip(podCommands(network), { namespace: node.podNamespace, signal });
  return mapFamilies(network.subnets, podAddressIn);
}

function readPodNetwork({ addresses, subnetFile }: LabNode): PodNetwork {
  try {
    const network = parseSubnetEnv(readFileSync(subnetFile, "utf8"));
    const missing = familiesOf(addresses).filter((family) => network.subnets[family] === undefined);
    if (missing.length > 0) throw new Error(`it has no IPv${missing[0]} subnet`);
    return network;
  } catch (cause) {
    throw new Error(`can't read ${subnetFile}`, { cause });
  }
}
