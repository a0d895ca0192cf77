import { readFileSync } from "node:fs";
import * as v from "valibot";
import { parsed } from "../../config/schema.ts";
import type { Address } from "../../net/address.ts";
import { makePrefix, nthAddress, splitCidr } from "../../net/prefix.ts";
import { ip } from "./ip.ts";
import type { LabNode } from "./plan.ts";

/** A node's slice of the pod network, as its subnet.env tells it. */
export interface PodNetwork {
  /** of the node's bridge */
  readonly gateway: Address;
  /** bits of the prefix */
  readonly length: number;
  /** bytes */
  readonly mtu: number;
}

const SubnetEnvSchema = v.object({
  FLANNEL_SUBNET: parsed(splitCidr, "an address with a prefix length"),
  FLANNEL_MTU: parsed((text) => (/^[1-9]\d{2,5}$/.test(text) ? Number(text) : undefined), "a number of bytes"),
});

/** @throws Error that names the line's key */
export function parseSubnetEnv(text: string): PodNetwork {
  const entries = text
    .split("\n")
    .map((line) => [line.split("=", 1)[0] ?? "", line.slice(line.indexOf("=") + 1).trim()]);
  const result = v.safeParse(SubnetEnvSchema, Object.fromEntries(entries));
  if (!result.success) throw new Error(`${v.getDotPath(result.issues[0])} ${result.issues[0].message}`);
  const { FLANNEL_SUBNET: subnet, FLANNEL_MTU: mtu } = result.output;
  return { gateway: subnet.address, length: subnet.length, mtu };
}

/** The pod's address: the first after the bridge's. */
export function podAddress({ gateway, length }: PodNetwork): Address {
  return nthAddress(makePrefix(gateway, length), 2n);
}

/** `ip` commands for the node's namespace: a bridge with the pod's veth, as a CNI plugin makes it. */
function bridgeCommands({ podNamespace }: LabNode, { gateway, length, mtu }: PodNetwork): string[] {
  return [
    `link add cni0 mtu ${mtu} type bridge`,
    `address add ${gateway}/${length} broadcast + dev cni0`,
    "link set cni0 up",
    `link add pod mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${podNamespace}`,
    "link set pod master cni0 up",
  ];
}

/** `ip` commands for the pod's namespace. */
function podCommands(network: PodNetwork): string[] {
  return [
    "link set lo up",
    `address add ${podAddress(network)}/${network.length} broadcast + dev eth0`,
    "link set eth0 up",
    `route add default via ${network.gateway} dev eth0`,
  ];
}

/**
 * Attaches the node's pod to the subnet that its subnet.env names.
 * @returns the pod's address
 */
export async function attachPod(node: LabNode, signal: AbortSignal): Promise<Address> {
  const network = readPodNetwork(node);
  await ip(bridgeCommands(node, network), { namespace: node.namespace, signal });
  await ip(podCommands(network), { namespace: node.podNamespace, signal });
  return podAddress(network);
}

function readPodNetwork({ subnetFile }: LabNode): PodNetwork {
  try {
    return parseSubnetEnv(readFileSync(subnetFile, "utf8"));
  } catch (cause) {
    throw new Error(`can't read ${subnetFile}`, { cause });
  }
}
