import type { AgentFlags } from "../config/flags.ts";
import { readNetConf } from "../config/read-net-conf.ts";
import type { LeaseSource } from "../lease/source.ts";

/**
 * Opens the source of leases that the flags choose; each is loaded only when it is used.
 * @throws UsageError
 */
export async function openLeaseSource(
  { leaseStore, etcd, kubernetes, netConfigPath }: AgentFlags,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<LeaseSource> {
  if (leaseStore !== undefined) {
    const { openEmbeddedStore } = await import("../lease/embedded.ts");
    return openEmbeddedStore({ path: leaseStore, readNetwork: () => readNetConf(netConfigPath) });
  }
  if (kubernetes !== undefined) {
    const { openKubernetes } = await import("../lease/kube.ts");
    const readNetwork = () => readNetConf(netConfigPath, { allocating: false });
    return openKubernetes({ ...kubernetes, environment, readNetwork });
  }
  if (etcd !== undefined) {
    const { openEtcd } = await import("../lease/etcd.ts");
    return openEtcd(etcd);
  }
  throw new Error("no lease source is chosen");
}
