import * as v from "valibot";
import type { SubnetEnv } from "../config/subnet-env.ts";
import { FAMILIES, type Family } from "../net/family.ts";
import { containsAddress, formatPrefix, parsePrefix, splitCidr } from "../net/prefix.ts";
import type { PluginConf } from "./conf.ts";
import { Delegate } from "./delegate.ts";
import { type DelegateConf, delegateConf } from "./delegate-conf.ts";
import { type Attachment, readAttachment } from "./environment.ts";
import { CniError, CODE } from "./errors.ts";
import { usesHostLocal } from "./host-local.ts";
import { readRecord } from "./records.ts";
import { inDelegatesVersion, type Request, withPrevResult } from "./request.ts";
import { readSubnetEnv } from "./subnet-env-file.ts";

/** What is looked at of a result, from CNI 0.4.0 on. */
const Result = v.object({
  interfaces: v.nullish(
    v.array(v.object({ name: v.string(), sandbox: v.nullish(v.string()), mtu: v.nullish(v.number()) })),
    [],
  ),
  ips: v.nullish(
    v.array(v.object({ address: v.string(), gateway: v.nullish(v.string()), interface: v.nullish(v.number()) })),
    [],
  ),
  routes: v.nullish(v.array(v.looseObject({ dst: v.string(), gw: v.nullish(v.string()) })), []),
});
type Result = v.InferOutput<typeof Result>;

/** @throws CniError: 101 for an address that is not this node's, 102 or 5 for the MTU, or the delegate's own */
export async function check({ conf, environment }: Request): Promise<void> {
  const attachment = readAttachment(environment);
  const result = parseResult(conf);
  const env = readSubnetEnv(conf.subnetFile, CODE.tryAgainLater);
  const complete = delegateConf(conf, env);
  if (usesHostLocal(complete)) checkAddresses(result, attachment, env);
  await checkMtu(result, attachment, complete);
  const record = readRecord(conf.dataDir, attachment.containerId);
  const made = record === undefined || record === "unreadable" ? complete : record;
  const delegate = new Delegate(made.type, environment);
  delegate.call("CHECK", withPrevResult(inDelegatesVersion(made, delegate, conf), withGateways(conf, result)));
}

/**
 * A route without a gateway goes through that of the pod's address. The bridge plugin sets it up so, but its CHECK looks for
 * exactly what is written, and would find none of the routes that ADD was given for the pod network.
 */
function withGateways(conf: PluginConf, { ips, routes }: Result): PluginConf {
  const completed = routes.map((route) => {
    const family = familyOfCidr(route.dst);
    const gw = route.gw || ips.find(({ address }) => familyOfCidr(address) === family)?.gateway;
    return gw ? { ...route, gw } : route;
  });
  return { ...conf, prevResult: { ...conf.prevResult, routes: completed } };
}

function familyOfCidr(text: string): Family | undefined {
  return parsePrefix(text)?.family;
}

function parseResult({ prevResult }: PluginConf): Result {
  const result = v.safeParse(Result, prevResult);
  if (result.success) return result.output;
  const what = prevResult == null ? "it has none" : `${v.getDotPath(result.issues[0])}: ${result.issues[0].message}`;
  throw new CniError(`CHECK needs the result of ADD as prevResult: ${what}`, { code: CODE.invalidConfig });
}

/** Addresses of the pod's interface: the agent may have another lease by now. */
function checkAddresses({ interfaces, ips }: Result, { ifName }: Attachment, { subnets }: SubnetEnv): void {
  const ours = FAMILIES.flatMap((family) => subnets[family] ?? []);
  for (const { address, interface: index } of ips) {
    const cidr = splitCidr(address);
    const on = index == null ? undefined : interfaces[index];
    if (cidr === undefined || (on !== undefined && !(on.name === ifName && on.sandbox))) continue;
    if (ours.some((subnet) => containsAddress(subnet, cidr.address))) continue;
    const message = `${cidr.address} of ${ifName} is not of this node's subnet ${ours.map(formatPrefix).join(", ")}`;
    const details = "the node's lease is another one now: make the pod anew";
    throw new CniError(message, { code: CODE.foreignAddress, details });
  }
}

/** @throws CniError 5, also if the namespace or the interface is gone */
async function readMtu(netns: string, ifName: string): Promise<number> {
  const { interfaceMtu } = await import("../ffi/interface-mtu.ts");
  try {
    return interfaceMtu(netns, ifName);
  } catch (cause) {
    throw new CniError(`the MTU of ${ifName} in ${netns} can't be read`, { code: CODE.io, cause });
  }
}

/** A pod with another MTU than the overlay's loses its large packets, or sends needlessly small ones. */
async function checkMtu({ interfaces }: Result, { ifName, netns }: Attachment, { mtu }: DelegateConf): Promise<void> {
  // From CNI 1.1.0 on a result has the MTU, which a later plugin of the chain may have changed.
  const told = interfaces.find(({ name, sandbox }) => name === ifName && sandbox)?.mtu;
  const expected = told ?? mtu;
  // The operator may leave the MTU to the delegate (0), or its own spelling.
  if (typeof expected !== "number" || expected === 0) return;
  const actual = await readMtu(netns, ifName);
  if (actual === expected) return;
  const message = `the MTU of ${ifName} is ${actual}, and should be ${expected}`;
  const details = "somebody changed it, or the overlay's MTU is another one now: make the pod anew";
  throw new CniError(message, { code: CODE.wrongMtu, details });
}
