import * as v from "valibot";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import { pickFields } from "./json-fields.ts";
import { NetConfError } from "./net-conf-error.ts";
import { BackendTypeSchema, NetConfSchema, UNDERLAY_MTU_MIN, VxlanSchema, WINDOWS_ONLY } from "./net-conf-schema.ts";
import type { NetworkConfig, NetworkRange, VxlanOptions } from "./network.ts";
import { networkRange, RANGE_NAMES, wholeRange } from "./network-range.ts";
import { show } from "./schema.ts";

const EXAMPLE = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}';
const FLANNEL_BACKENDS = ["vxlan", "host-gw", "udp", "wireguard", "ipip", "ipsec", "extension", "alloc", "tencent-vpc"];

export interface NetConfOptions {
  /**
   * False where others give out the subnets (Kubernetes): flanneld then looks neither at the size of the network nor at
   * SubnetLen, SubnetMin and SubnetMax. True unless given.
   */
  readonly allocating?: boolean;
}

/**
 * Reads the network's configuration by flanneld's rules.
 * @param path where the text comes from, for messages
 * @returns the configuration, and one sentence for each thing that is ignored
 * @throws NetConfError
 */
export function parseNetConf(
  text: string,
  path: string,
  { allocating = true }: NetConfOptions = {},
): { config: NetworkConfig; warnings: string[] } {
  const problem = (what: string, options?: ErrorOptions) => new NetConfError(`${path}: ${what}`, options);
  const top = pickFields(parseObject(text, problem), Object.keys(NetConfSchema.entries), "");
  const fields = check(NetConfSchema, top.known, "", problem);
  const families = FAMILIES.filter((family) => fields[`EnableIPv${family}`]);
  if (families.length === 0) {
    throw problem("EnableIPv4 and EnableIPv6 are both false; set the one to true whose addresses the pods shall have");
  }
  const { backend, warnings } = parseBackend(fields.Backend, families, problem);
  const makeRange = allocating ? networkRange : wholeRange;
  const ranges: PerFamily<NetworkRange> = {};
  for (const family of families) {
    const { network, length, min, max } = RANGE_NAMES[family];
    ranges[family] = makeRange(
      family,
      { network: fields[network], subnetLength: fields[length], subnetMin: fields[min], subnetMax: fields[max] },
      problem,
    );
  }
  const idle = FAMILIES.filter((family) => !families.includes(family)).flatMap((family) =>
    Object.values(RANGE_NAMES[family])
      .filter((name) => fields[name] !== undefined)
      .map((name) => `${name} is ignored: EnableIPv${family} is ${family === 4 ? "false" : "not set"}`),
  );
  return {
    config: { ranges, backend, nftables: fields.EnableNFTables },
    warnings: [...top.warnings, ...idle, ...warnings].map((warning) => `${path}: ${warning}`),
  };
}

type Problem = (what: string, options?: ErrorOptions) => NetConfError;

function parseObject(text: string, problem: Problem): object {
  if (text.trim() === "") throw problem(`is empty; write the network's configuration to it, such as ${EXAMPLE}`);
  if (text.startsWith("\uFEFF")) throw problem("starts with a byte-order mark; save it as UTF-8 without one");
  const zero = text.indexOf("\0");
  if (zero >= 0) throw problem(`is binary: character ${zero + 1} is zero; it must be JSON such as ${EXAMPLE}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const cause = error instanceof Error ? error.message.replace(/^JSON Parse error:\s*/, "") : String(error);
    throw problem(`is not complete JSON (${cause}); it must be an object such as ${EXAMPLE}`, { cause: error });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw problem(`must hold a JSON object such as ${EXAMPLE}, not ${show(value)}`);
}

function check<const S extends v.GenericSchema>(
  schema: S,
  fields: unknown,
  where: string,
  problem: Problem,
): v.InferOutput<S> {
  const result = v.safeParse(schema, fields);
  if (result.success) return result.output;
  throw problem(result.issues.map((issue) => `${where}${v.getDotPath(issue) ?? ""} ${issue.message}`).join("; "));
}

function parseBackend(
  given: object | undefined,
  families: readonly Family[],
  problem: Problem,
): { backend: VxlanOptions; warnings: string[] } {
  const advice = 'set "Backend": {"Type": "vxlan"}';
  if (given === undefined) throw problem(`Backend is missing, which means udp, not available in this build; ${advice}`);
  const { Type: type } = check(BackendTypeSchema, pickFields(given, ["Type"], "Backend.").known, "Backend.", problem);
  if (type === undefined || type === "") throw problem(`Backend.Type is missing; ${advice}`);
  if (type.toLowerCase() !== "vxlan") {
    const exists = FLANNEL_BACKENDS.includes(type.toLowerCase());
    throw problem(`Backend.Type ${show(type)} is ${exists ? "not available in this build" : "unknown"}; ${advice}`);
  }
  const names = ["Type", ...Object.keys(VxlanSchema.entries), ...WINDOWS_ONLY];
  const picked = pickFields(given, names, "Backend.");
  const options = check(VxlanSchema, picked.known, "Backend.", problem);
  if (options.DirectRouting) throw problem("Backend.DirectRouting is not available in this build; leave it out");
  if (families.includes(6) && options.MTU !== undefined && options.MTU < UNDERLAY_MTU_MIN[6]) {
    throw problem(`Backend.MTU must be at least ${UNDERLAY_MTU_MIN[6]} with EnableIPv6, not ${options.MTU}`);
  }
  const windows = WINDOWS_ONLY.filter((name) => picked.known[name] !== undefined);
  return {
    backend: {
      type: "vxlan",
      vni: options.VNI,
      port: options.Port === 0 ? undefined : options.Port,
      gbp: options.GBP,
      learning: options.Learning,
      mtu: options.MTU,
    },
    warnings: [...picked.warnings, ...windows.map((name) => `Backend.${name} is ignored: it is for Windows only`)],
  };
}
