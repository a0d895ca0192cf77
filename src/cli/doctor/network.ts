import { existsSync } from "node:fs";
import { flagSpec } from "../../config/flag-table.ts";
import { parseNetConf } from "../../config/net-conf.ts";
import type { NetworkConfig, NetworkRange } from "../../config/network.ts";
import { readNetConf } from "../../config/read-net-conf.ts";
import { parseAddress } from "../../net/address.ts";
import { FAMILIES, type PerFamily } from "../../net/family.ts";
import { parsePrefix } from "../../net/prefix.ts";
import type { AgentView } from "./agent-api.ts";
import type { Context } from "./context.ts";

/** The network's configuration, and what is ignored in it. */
export interface KnownNetwork {
  readonly config: NetworkConfig;
  readonly warnings: readonly string[];
  /** where it comes from; undefined: nobody says, and the manifest's is taken for it */
  readonly from: string | undefined;
}

/** What `manifests/tartan.yml` has. */
const USUAL = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}';

const DEFAULT_PATH = flagSpec("net-config-path").default;

/** Where the agent has it from. @throws NetConfError, Error about etcd */
export async function readNetwork(context: Context): Promise<KnownNetwork> {
  const { flags, leaseSource } = context.settings;
  if (leaseSource === "etcd" && flags.etcd !== undefined) {
    const { openEtcd } = await import("../../lease/etcd.ts");
    const source = openEtcd(flags.etcd);
    try {
      const { network, warnings } = await source.settings(context.signal);
      return { config: network, warnings, from: `etcd (${flags.etcd.prefix}/config)` };
    } finally {
      source.close();
    }
  }
  const path = context.hostPath(flags.netConfigPath);
  // In Kubernetes a ConfigMap has it, which comes with the installation.
  const mayLack = leaseSource === undefined || (leaseSource === "kubernetes" && flags.netConfigPath === DEFAULT_PATH);
  if (mayLack && !context.isAgentHere && !existsSync(path))
    return { ...parseNetConf(USUAL, "the manifest"), from: undefined };
  return { ...(await readNetConf(path, { allocating: leaseSource === "embedded" })), from: path };
}

/** What the agent goes by; undefined if it does not know yet. */
export function networkFromAgent({ config, rules }: AgentView): NetworkConfig | undefined {
  const { network, backend } = config;
  if (network === null || backend === null) return undefined;
  const ranges: PerFamily<NetworkRange> = {};
  for (const family of FAMILIES) {
    const told = network[`ipv${family}`];
    if (told === undefined) continue;
    const prefix = parsePrefix(told.network);
    const [subnetMin, subnetMax] = [parseAddress(told.subnetMin), parseAddress(told.subnetMax)];
    if (prefix === undefined || subnetMin === undefined || subnetMax === undefined) return undefined;
    ranges[family] = { network: prefix, subnetLength: told.subnetLength, subnetMin, subnetMax };
  }
  const { vni, port, gbp, learning, mtu } = backend;
  return {
    ranges,
    backend: { type: "vxlan", vni, port: port ?? undefined, gbp, learning, mtu: mtu ?? undefined },
    nftables: rules.mode === "nftables",
  };
}
