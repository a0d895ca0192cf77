import * as v from "valibot";
import type { SubnetEnv } from "../config/subnet-env.ts";
import { FAMILIES } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { JsonObject, PluginConf } from "./conf.ts";
import { CniError, CODE } from "./errors.ts";

/** What a delegate is given on stdin, and what is kept of it; beyond these fields it is the operator's. */
const DelegateConf = v.looseObject({
  type: v.pipe(v.string(), v.regex(/^[^/]+$/, "is no name of a plugin")),
  name: v.string(),
  cniVersion: v.optional(v.string()),
  mtu: v.optional(v.unknown()),
  ipam: v.optional(v.looseObject({ type: v.optional(v.string()), dataDir: v.optional(v.string()) })),
});
export type DelegateConf = v.InferOutput<typeof DelegateConf>;

/** A delegate's configuration from text, or undefined if it is none. */
export function parseDelegateConf(text: string): DelegateConf | undefined {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), DelegateConf), text);
  return result.success ? result.output : undefined;
}

const invalid = (message: string) =>
  new CniError(`the configuration is not valid: ${message}`, { code: CODE.invalidConfig });

/**
 * The delegate's configuration: what the operator wrote under `delegate`, the rest from subnet.env (flannel: doCmdAdd).
 * @throws CniError 7 if `delegate` has what is not the operator's to set
 */
export function delegateConf(conf: PluginConf, env: SubnetEnv): DelegateConf {
  const given: JsonObject = conf.delegate ?? {};
  for (const key of ["name", "ipam"]) {
    if (Object.hasOwn(given, key)) throw invalid(`delegate must not have ${key}: the plugin sets it`);
  }
  const { type = "bridge" } = given;
  if (typeof type !== "string" || !/^[^/]+$/.test(type)) throw invalid("delegate.type is no name of a plugin");
  return {
    ...(type === "bridge" ? { isGateway: true } : {}),
    ipMasq: !env.ipMasq,
    mtu: env.mtu,
    ...given,
    ...(conf.runtimeConfig == null ? {} : { runtimeConfig: conf.runtimeConfig }),
    ...(conf.cniVersion === undefined ? cniVersionOf(given) : { cniVersion: conf.cniVersion }),
    type,
    name: conf.name,
    ipam: delegateIpam(conf, env),
  };
}

function cniVersionOf({ cniVersion }: JsonObject): { cniVersion?: string } {
  return typeof cniVersion === "string" ? { cniVersion } : {};
}

/** One range a family, so that a pod gets an address of each; the operator's routes, then those to the whole network. */
function delegateIpam({ ipam }: PluginConf, { subnets, networks }: SubnetEnv): NonNullable<DelegateConf["ipam"]> {
  return {
    type: "host-local",
    ...ipam,
    ranges: FAMILIES.flatMap((family) => subnets[family] ?? []).map((subnet) => [{ subnet: formatPrefix(subnet) }]),
    routes: [...(ipam?.routes ?? []), ...networks.map((network) => ({ dst: formatPrefix(network) }))],
  };
}
