import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { CniRunner, type Conflist, type Json as JsonObject } from "../cni.ts";
import { readEnvironmentFile } from "../environment-file.ts";

const Json = v.record(v.string(), v.unknown());
const Conf = v.object({
  cniVersion: v.string(),
  name: v.string(),
  subnetFile: v.string(),
  dataDir: v.string(),
  delegate: v.optional(Json, {}),
  ipam: v.optional(Json, {}),
  runtimeConfig: v.optional(Json),
});
const Record = v.pipe(v.string(), v.parseJson(), v.looseObject({ type: v.string() }));

/** A list as the ConfigMap of flannel's manifest has it; the place of its files is that of another list. */
export function flannelConflist(list: Conflist): Conflist {
  return { ...list, cniVersion: "0.3.1" };
}

/** A container runtime whose plugin `flannel` is either ours or does as that of flannel-io/cni-plugin v1.9 does. */
export class MigratingRunner extends CniRunner {
  plugin: "flannel's" | "tartan's" = "flannel's";

  override async call(
    verb: string,
    type: string,
    given: JsonObject,
    environment: Record<string, string> = {},
  ): Promise<string> {
    // A DEL is told the result of its ADD only from CNI 0.4.0 on.
    const conf = verb === "DEL" && given["cniVersion"] === "0.3.1" ? { ...given, prevResult: undefined } : given;
    if (type !== "flannel" || this.plugin === "tartan's") return super.call(verb, type, conf, environment);
    const parsed = v.parse(Conf, conf);
    const record = join(parsed.dataDir, environment["CNI_CONTAINERID"] ?? "");
    if (verb === "ADD") {
      const delegate = delegateOf(parsed);
      mkdirSync(parsed.dataDir, { recursive: true, mode: 0o700 });
      writeFileSync(record, JSON.stringify(sorted(delegate)), { mode: 0o600 });
      return super.call("ADD", delegate.type, delegate, environment);
    }
    if (verb !== "DEL") throw new Error(`flannel's plugin does nothing for ${verb}`);
    const delegate = v.parse(Record, readFileSync(record, "utf8"));
    const answer = await super.call("DEL", delegate.type, delegate, environment);
    rmSync(record);
    return answer;
  }
}

/** What the delegate is given, and its record: what the operator wrote, completed by subnet.env. */
function delegateOf({ cniVersion, name, subnetFile, delegate, ipam, runtimeConfig }: v.InferOutput<typeof Conf>) {
  const env = readEnvironmentFile(subnetFile);
  const [network, gateway] = [env["FLANNEL_NETWORK"], env["FLANNEL_SUBNET"]];
  return {
    isGateway: true,
    ipMasq: env["FLANNEL_IPMASQ"] !== "true",
    mtu: Number(env["FLANNEL_MTU"]),
    ...delegate,
    ...(runtimeConfig === undefined ? {} : { runtimeConfig }),
    cniVersion,
    name,
    type: "bridge",
    ipam: {
      type: "host-local",
      ...ipam,
      ranges: [[{ subnet: gateway?.replace(/1\/24$/, "0/24") }]],
      routes: [{ dst: network }],
    },
  };
}

/** Go writes a map in the order of its keys. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  const map = v.safeParse(Json, value);
  if (!map.success) return value;
  const entries = Object.entries(map.output).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]));
}
