import { type Child, childBecomes, startChild } from "../child.ts";
import { type CommandResult, inside, quote, run } from "../command.ts";
import type { EtcdPlan, LabHost } from "../lease-plan.ts";
import type { ServerPaths } from "./binaries.ts";
import { etcdArguments } from "./etcd-arguments.ts";

const PATIENCE_MS = 30_000;
/** flannel's, which is the agents' default */
const PREFIX = "/coreos.com/network";

/** The lab's etcd. */
export class LabEtcd {
  readonly #host: LabHost;
  readonly #plan: EtcdPlan;
  readonly #paths: ServerPaths;
  readonly child: Child;

  private constructor(host: LabHost, plan: EtcdPlan, paths: ServerPaths) {
    this.#host = host;
    this.#plan = plan;
    this.#paths = paths;
    const { dataDir, clientUrl, peerUrl, logFile } = plan;
    this.child = startChild({
      name: "etcd",
      command: inside(host.namespace, [paths("etcd"), ...etcdArguments({ name: "lab", dataDir, clientUrl, peerUrl })]),
      // etcd 3.4 runs nowhere but on amd64 unless it is told.
      ...(process.arch === "arm64" && { variables: { ETCD_UNSUPPORTED_ARCH: "arm64" } }),
      logFile,
    });
  }

  /** Starts it in the host's namespace, and waits until it is healthy. @throws ChildError, or the signal's reason */
  static async start(host: LabHost, plan: EtcdPlan, paths: ServerPaths, signal: AbortSignal): Promise<LabEtcd> {
    const etcd = new LabEtcd(host, plan, paths);
    await childBecomes("healthy", etcd.child, PATIENCE_MS, signal, async () => {
      const { code, stderr } = await etcd.#ctl(["--command-timeout=2s", "endpoint", "health"], signal);
      return code === 0 ? { value: true } : { lacks: stderr.trim() };
    });
    return etcd;
  }

  /** Puts the network's configuration under flannel's key, as an administrator would. @throws Error in etcdctl's words */
  async putNetwork(config: string, signal: AbortSignal): Promise<void> {
    const { code, stderr } = await this.#ctl(["put", `${PREFIX}/config`, config], signal);
    if (code !== 0) throw new Error(`etcdctl put ${PREFIX}/config: ${stderr.trim() || `exit code ${code}`}`);
  }

  /** Shell commands that show what it holds. */
  get inspect(): string[] {
    const command = ["ip", "netns", "exec", this.#host.namespace, ...this.#ctlCommand(["get", "--prefix", PREFIX])];
    return [command.map(quote).join(" ")];
  }

  #ctl(args: readonly string[], signal: AbortSignal): Promise<CommandResult> {
    return run(inside(this.#host.namespace, this.#ctlCommand(args)), "", signal);
  }

  #ctlCommand(args: readonly string[]): string[] {
    return [this.#paths("etcdctl"), `--endpoints=${this.#plan.clientUrl}`, ...args];
  }
}
