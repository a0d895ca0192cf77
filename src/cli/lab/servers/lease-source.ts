import type { Child } from "../child.ts";
import type { LabPlan } from "../plan.ts";
import type { LeaseReport } from "../report.ts";
import type { ServerPaths } from "./binaries.ts";
import { LabEtcd } from "./etcd.ts";
import { LabKubernetes } from "./kube.ts";

/** What the agents keep their leases in, running and told of the network. */
export interface LeaseSource {
  readonly children: readonly Child[];
  readonly report: LeaseReport;
}

interface Surroundings {
  readonly paths: ServerPaths;
  /** for lines of progress */
  readonly tell: (text: string) => void;
  /** ends with the lab */
  readonly open: AsyncDisposableStack;
  readonly signal: AbortSignal;
}

/**
 * Starts the servers of the lab's lease source, and gives it the network's configuration.
 * @throws ChildError with the end of a server's log, or the signal's reason; the processes are removeLab's to end
 */
export async function startLeaseSource(plan: LabPlan, around: Surroundings): Promise<LeaseSource> {
  try {
    return await start(plan, around);
  } catch (error) {
    // A request that the signal ended has its own words for that.
    around.signal.throwIfAborted();
    throw error;
  }
}

async function start(plan: LabPlan, { paths, tell, open, signal }: Surroundings): Promise<LeaseSource> {
  const { lease, netConf, nodes } = plan;
  if (lease.kind !== "etcd") await Bun.write(netConf.path, netConf.content);
  if (lease.kind === "embedded") return { children: [], report: { source: lease.kind, server: null, inspect: [] } };

  const { host } = lease;
  const etcdUrl = lease.etcd.clientUrl;
  tell(`starting etcd at ${etcdUrl}, in ${host.namespace}`);
  const etcd = await LabEtcd.start(host, lease.etcd, paths, signal);
  if (lease.kind === "etcd") {
    await etcd.putNetwork(netConf.content.trim(), signal);
    return { children: [etcd.child], report: { source: lease.kind, server: etcdUrl, inspect: etcd.inspect } };
  }

  tell(`starting kube-apiserver at ${lease.kube.url}; it takes some seconds`);
  const kube = await LabKubernetes.start({ host, plan: lease.kube, paths, etcdUrl, open }, signal);
  tell("registering the Nodes; kube-controller-manager gives them their podCIDRs");
  await kube.addNodes(nodes, signal);
  return {
    children: [etcd.child, ...kube.children],
    report: { source: lease.kind, server: lease.kube.url, inspect: kube.inspect },
  };
}
