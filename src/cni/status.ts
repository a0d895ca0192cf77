import { networkInterfaces } from "node:os";
import type { SubnetEnv } from "../config/subnet-env.ts";
import { FAMILIES } from "../net/family.ts";
import { Delegate, findPlugin } from "./delegate.ts";
import { type DelegateConf, delegateConf } from "./delegate-conf.ts";
import type { Environment } from "./environment.ts";
import { CniError, CODE } from "./errors.ts";
import type { Request } from "./request.ts";
import { readSubnetEnv } from "./subnet-env-file.ts";

/** Whether an ADD would succeed. @throws CniError 50, or the delegate's own */
export function status({ conf, environment }: Request): void {
  const env = readSubnetEnv(conf.subnetFile, CODE.notAvailable);
  for (const device of env.devices) checkDevice(device, env);
  const complete = delegateConf(conf, env);
  const delegate = new Delegate(complete.type, environment, CODE.notAvailable);
  checkIpam(complete, environment);
  if (delegate.supports(conf.version)) delegate.call("STATUS", { ...complete, cniVersion: conf.version });
}

/** The bridge plugin asks another one for the addresses of each pod, and looks for it only then. */
function checkIpam({ type, ipam }: DelegateConf, environment: Environment): void {
  if (type !== "bridge" || !ipam?.type) return;
  findPlugin(ipam.type, "which gives pods their addresses", environment, CODE.notAvailable);
}

/** The agent's device is up with the first address of the subnet, by which it is told from another of its name. */
function checkDevice(device: string, { subnets }: SubnetEnv): void {
  const wanted = FAMILIES.flatMap((family) => subnets[family]?.address ?? []);
  // Interfaces that are down are left out.
  const present = networkInterfaces()[device];
  if (present?.some(({ address }) => wanted.some((one) => one === address))) return;
  const what = present === undefined ? "is missing or down" : `has not the address ${wanted.join(" or ")}`;
  const details = "the agent of this node keeps it: see http://127.0.0.1:8285/readyz, and its log";
  throw new CniError(`the device ${device} of the pod network ${what}`, { code: CODE.notAvailable, details });
}
