import { type EtcdFacts, readEtcd } from "./etcd-source.ts";
import { type KubeFacts, readKube } from "./kube-source.ts";
import type { Settings } from "./settings.ts";

/** What one server of a lease source answered. */
export interface ServerFacts {
  /** its URL */
  readonly server: string;
  /** of one request over a new connection */
  readonly latencyMs?: number;
  /** milliseconds by which this machine's clock is ahead of the server's, give or take `uncertainMs` */
  readonly clock?: ClockFacts;
  /** why it gave no answer that counts */
  readonly problem?: string;
}

export interface ClockFacts {
  readonly aheadMs: number;
  readonly uncertainMs: number;
}

/** What the lease source answers to the agent's credentials. */
export interface SourceFacts {
  readonly servers: readonly ServerFacts[];
  readonly etcd?: EtcdFacts;
  readonly kube?: KubeFacts;
}

/** Whether the agent finds its credentials in files. */
function needsFiles({ leaseSource, flags: { etcd } }: Settings): boolean {
  return leaseSource === "kubernetes" || Object.keys(etcd?.tls ?? {}).length > 0;
}

/** Nothing is written there. */
export async function readSources(settings: Settings, signal: AbortSignal): Promise<SourceFacts> {
  const { leaseSource, flags, environment, isAgentApart } = settings;
  if (isAgentApart && needsFiles(settings)) return { servers: [] };
  if (leaseSource === "etcd" && flags.etcd !== undefined) return readEtcd(flags.etcd, signal);
  if (leaseSource === "kubernetes" && flags.kubernetes !== undefined)
    return readKube(flags.kubernetes, environment, signal);
  return { servers: [] };
}
