import { UsageError } from "../base/errors.ts";
import type { Address } from "../net/address.ts";
import { FAMILIES, type Family, familiesOf, type PerFamily } from "../net/family.ts";
import { type Prefix, parsePrefix } from "../net/prefix.ts";
import type { KubeNode } from "./kube-proto.ts";
import type { Lease, LeaseAttributes, Vtep } from "./lease.ts";
import { type Decoded, decodeVtep, parsePublicAddress, vtepData } from "./wire.ts";

/** flannel's annotations of a Node (pkg/subnet/kube/annotations.go) under one prefix. */
export interface AnnotationNames {
  /** `"true"` where the node has published a lease */
  readonly managed: string;
  readonly backendType: string;
  readonly data: Readonly<Record<Family, string>>;
  readonly publicIP: Readonly<Record<Family, string>>;
  /** set by an administrator: published in the place of the node's own address */
  readonly overwrite: Readonly<Record<Family, string>>;
  /** set by an administrator: as if it were given by --public-ip */
  readonly nodePublicIP: Readonly<Record<Family, string>>;
  /** all of them */
  readonly all: ReadonlySet<string>;
}

type Annotations = Readonly<Record<string, string>>;

/**
 * flannel's rules for --kube-annotation-prefix: `example.com`, `example.com/` or `example.com/part`.
 * @throws UsageError
 */
export function annotationNames(prefix: string): AnnotationNames {
  const complete = prefix.includes("/") ? prefix.replace(/([^/-])$/, "$1-") : `${prefix}/`;
  if (!/^([a-z0-9_-]+\.)+[a-z0-9_-]+\/([a-z0-9_-]+-)?$/.test(complete)) {
    throw new UsageError(
      `--kube-annotation-prefix must be a domain, or a domain, a slash and a name, all of it of a-z, 0-9, _, - and dots, ` +
        `such as flannel.alpha.coreos.com, not ${JSON.stringify(prefix)}`,
    );
  }
  const both = (four: string, six: string) => ({ 4: complete + four, 6: complete + six });
  const managed = `${complete}kube-subnet-manager`;
  const backendType = `${complete}backend-type`;
  const data = both("backend-data", "backend-v6-data");
  const publicIP = both("public-ip", "public-ipv6");
  const overwrite = both("public-ip-overwrite", "public-ipv6-overwrite");
  const nodePublicIP = both("node-public-ip", "node-public-ipv6");
  const perFamily = [data, publicIP, overwrite, nodePublicIP].flatMap((one) => Object.values(one));
  return {
    managed,
    backendType,
    data,
    publicIP,
    overwrite,
    nodePublicIP,
    all: new Set([managed, backendType, ...perFamily]),
  };
}

/**
 * What flannel writes for a node, byte for byte: only what its backend has, so that what an earlier one left stays.
 * @param present the Node's annotations; an overwritten address is published in its very text
 */
export function encodeAnnotations(
  names: AnnotationNames,
  attributes: LeaseAttributes,
  present: Annotations,
): Annotations {
  const { backendType, publicIPs, vteps } = attributes;
  const annotations: Record<string, string> = { [names.backendType]: backendType, [names.managed]: "true" };
  for (const family of familiesOf(publicIPs)) {
    const vtep = vteps[family];
    if (backendType === "vxlan" && vtep === undefined) continue;
    annotations[names.data[family]] = vtep === undefined ? "null" : JSON.stringify(vtepData(vtep));
    annotations[names.publicIP[family]] = present[names.overwrite[family]] || `${publicIPs[family]}`;
  }
  return annotations;
}

/**
 * Addresses that an administrator has set by annotations.
 * @param kind which ones
 * @throws Error that names the Node and the annotation
 */
export function addressesSet(
  names: AnnotationNames,
  kind: "overwrite" | "nodePublicIP",
  { name, annotations }: Pick<KubeNode, "name" | "annotations">,
): PerFamily<Address> {
  const found: PerFamily<Address> = {};
  for (const family of FAMILIES) {
    const text = annotations[names[kind][family]];
    if (!text) continue;
    const address = parsePublicAddress(text, family);
    if (address === undefined) {
      throw new Error(
        `Node ${name}: annotation ${names[kind][family]} must be a unicast IPv${family} address, not ` +
          `${JSON.stringify(text)}; correct or remove it`,
      );
    }
    found[family] = address;
  }
  return found;
}

/** The VTEPs that a Node has published, as far as they make sense. */
export function publishedVteps(names: AnnotationNames, annotations: Annotations): PerFamily<Vtep> {
  const vteps: PerFamily<Vtep> = {};
  if (annotations[names.backendType] !== "vxlan") return vteps;
  for (const family of FAMILIES) {
    const vtep = decodeData(names, annotations, family);
    if (vtep.ok) vteps[family] = vtep.value;
  }
  return vteps;
}

/** The first podCIDR of each family. Host bits are cleared. */
export function subnetsOf(podCIDRs: readonly string[]): PerFamily<Prefix> {
  const subnets: PerFamily<Prefix> = {};
  for (const text of podCIDRs) {
    const subnet = parsePrefix(text);
    if (subnet !== undefined) subnets[subnet.family] ??= subnet;
  }
  return subnets;
}

/** A Node's lease from its annotations and podCIDRs; a family counts where there are both. */
export function decodeNodeLease(names: AnnotationNames, node: KubeNode): Decoded<Lease> {
  const { name, annotations, createdAt } = node;
  const podSubnets = subnetsOf(node.podCIDRs);
  const backendType = annotations[names.backendType];
  if (!backendType) return bad(`annotation ${names.backendType} is missing`);
  const subnets: PerFamily<Prefix> = {};
  const publicIPs: PerFamily<Address> = {};
  const vteps: PerFamily<Vtep> = {};
  for (const family of FAMILIES) {
    const subnet = podSubnets[family];
    const text = annotations[names.publicIP[family]];
    // What flannel writes where a backend has no IPv4.
    if (subnet === undefined || text === undefined || text === "0.0.0.0") continue;
    const address = parsePublicAddress(text, family);
    if (address === undefined) {
      const what = `a unicast IPv${family} address, not ${JSON.stringify(text.slice(0, 60))}`;
      return bad(`annotation ${names.publicIP[family]} must be ${what}`, publicIPs);
    }
    publicIPs[family] = address;
    subnets[family] = subnet;
    if (backendType !== "vxlan") continue;
    const vtep = decodeData(names, annotations, family);
    if (!vtep.ok) return bad(vtep.reason, publicIPs);
    vteps[family] = vtep.value;
  }
  if (familiesOf(subnets).length === 0) {
    const missing = familiesOf(podSubnets).map((family) => names.publicIP[family]);
    return bad(`annotation ${missing.join(" or ")} is missing, though the podCIDR is ${node.podCIDRs.join(" and ")}`);
  }
  // One text for all of the usual ones.
  const type = backendType === "vxlan" ? "vxlan" : backendType;
  return { ok: true, value: { key: name, node: name, subnets, publicIPs, backendType: type, vteps, createdAt } };
}

function bad(reason: string, publicIPs?: PerFamily<Address>): Decoded<never> {
  return { ok: false, reason, ...(publicIPs && { publicIPs }) };
}

function decodeData(names: AnnotationNames, annotations: Annotations, family: Family): Decoded<Vtep> {
  const name = names.data[family];
  const text = annotations[name];
  if (text === undefined) return bad(`annotation ${name} is missing`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return bad(`annotation ${name} is not JSON: ${JSON.stringify(text.slice(0, 60))}`);
  }
  return decodeVtep(value, `annotation ${name}`);
}
