import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { kubeBinary } from "../kube-binaries.ts";
import type { Netns } from "../netns.ts";
import { unpackedCommand } from "../unpacked.ts";
import { eventually } from "../wait.ts";
import { BUSYBOX_IMAGE } from "./busybox.ts";
import { Machine } from "./machine.ts";

/** Debian's, and upstream's own. */
const PLUGINS = ["/usr/lib/cni", "/opt/cni/bin"];
/** What Debian's containernetworking-plugins has that our conflist calls, directly or not. */
const NEEDED = ["bridge", "host-local", "loopback", "portmap"];
const COMMANDS = {
  containerd: unpackedCommand("containerd", "containerd"),
  ctr: unpackedCommand("ctr", "containerd"),
  runc: unpackedCommand("runc", "runc"),
  conntrack: unpackedCommand("conntrack", "conntrack"),
};
const SOCKET = "/run/containerd/containerd.sock";
const LOG_TAIL = 3000;

/** The first command that a node needs and that is not there. */
export function nodeCommandMissing(): string | undefined {
  return Object.entries(COMMANDS).find(([, path]) => path === undefined)?.[0];
}

export interface NodeSettings {
  readonly ns: Netns;
  readonly name: string;
  readonly address: string;
  /** new, for its files */
  readonly folder: string;
  /** with the rights of an administrator */
  readonly kubeconfig: string;
  readonly clusterCIDR: string;
}

/** A node of a cluster: containerd, kubelet and kube-proxy on a machine of its own. */
export class ClusterNode implements Disposable {
  readonly name: string;
  readonly address: string;
  readonly machine: Machine;
  readonly #settings: NodeSettings;
  readonly #children = new Map<string, Bun.Subprocess>();

  private constructor(settings: NodeSettings, machine: Machine) {
    this.name = settings.name;
    this.address = settings.address;
    this.#settings = settings;
    this.machine = machine;
  }

  /** Starts containerd, which then takes images. @throws Error with the end of its log */
  static async start(settings: NodeSettings): Promise<ClusterNode> {
    const node = new ClusterNode(settings, await Machine.start(settings.ns, settings.folder));
    try {
      await node.#startContainerd();
    } catch (cause) {
      const log = await node.log("containerd");
      node[Symbol.dispose]();
      throw new Error(`${node.name}: containerd's log ends with:\n${log}`, { cause });
    }
    return node;
  }

  async #startContainerd(): Promise<void> {
    const { machine } = this;
    const from = PLUGINS.find((folder) => existsSync(join(folder, "bridge"))) ?? "";
    await machine.exec(["mkdir", "-p", "/opt/cni/bin"]);
    await machine.exec(["cp", "-L", ...NEEDED.map((name) => join(from, name)), "/opt/cni/bin/"]);
    const config = machine.at("containerd.toml");
    await Bun.write(
      config,
      [
        "version = 2",
        // Layers are mounted by overlayfs, and /var is such a mount itself.
        `root = "${machine.at("containerd")}"`,
        'state = "/run/containerd"',
        "[grpc]",
        `  address = "${SOCKET}"`,
        '[plugins."io.containerd.grpc.v1.cri"]',
        `  sandbox_image = "${BUSYBOX_IMAGE}"`,
        "  disable_apparmor = true",
        "  restrict_oom_score_adj = true",
      ].join("\n"),
    );
    this.#spawn("containerd", [COMMANDS.containerd ?? "containerd", `--config=${config}`]);
    await eventually(async () => (await this.ctr("version")).includes("Server"), {
      within: 60_000,
      what: "containerd answers",
    });
  }

  /** Starts kubelet and kube-proxy: the node registers itself. */
  join(): void {
    const { name, address, kubeconfig, clusterCIDR } = this.#settings;
    this.#spawn("kube-proxy", [
      kubeBinary("kube-proxy"),
      `--kubeconfig=${kubeconfig}`,
      `--hostname-override=${name}`,
      `--cluster-cidr=${clusterCIDR}`,
      // It would look for the Node's address otherwise, which is not there yet.
      `--bind-address=${address}`,
      "--proxy-mode=iptables",
      // The kernel's table is the whole machine's.
      "--conntrack-max-per-core=0",
      "--conntrack-min=0",
    ]);
    this.#spawn("kubelet", [
      kubeBinary("kubelet"),
      `--kubeconfig=${kubeconfig}`,
      `--hostname-override=${name}`,
      `--node-ip=${address}`,
      "--container-runtime=remote",
      `--container-runtime-endpoint=unix://${SOCKET}`,
      "--cgroup-driver=cgroupfs",
      "--cgroups-per-qos=false",
      "--enforce-node-allocatable=",
      "--eviction-hard=",
      "--fail-swap-on=false",
      "--image-gc-high-threshold=100",
      // Nobody resolves names here.
      "--resolv-conf=",
      "--node-status-update-frequency=2s",
      // Now and then it forgets a pod that has ended until it looks at all of them, which is once a minute.
      "--sync-frequency=5s",
    ]);
  }

  #spawn(name: string, command: readonly string[]): void {
    const log = Bun.file(this.machine.at(`${name}.log`));
    const settings = { env: this.#environment, stdin: "ignore", stdout: log, stderr: log } as const;
    this.#children.set(name, this.machine.spawn(command, settings));
  }

  get #environment(): Record<string, string> {
    const folders = Object.values(COMMANDS).flatMap((path) => (path === undefined ? [] : [dirname(path)]));
    return {
      PATH: [...new Set(folders), "/usr/sbin:/usr/bin:/sbin:/bin"].join(":"),
      // The kubelet would wait some seconds for a cloud that is not there.
      AWS_EC2_METADATA_DISABLED: "true",
    };
  }

  /** `ctr` among Kubernetes' containers. @throws Error with its stderr if it fails */
  ctr(...args: readonly string[]): Promise<string> {
    const command = [COMMANDS.ctr ?? "ctr", `--address=${SOCKET}`, "--namespace=k8s.io", ...args];
    return this.machine.exec(command, { env: this.#environment });
  }

  /** The process of a container, by the id that Kubernetes has of it (`containerd://…`). @throws Error if it does not run */
  async pidOf(containerId: string): Promise<number> {
    const id = containerId.replace("containerd://", "");
    const tasks = await this.ctr("tasks", "list");
    const [, pid] =
      tasks
        .split("\n")
        .find((line) => line.startsWith(id))
        ?.split(/\s+/) ?? [];
    if (pid === undefined) throw new Error(`${this.name} runs no container ${id}:\n${tasks}`);
    return Number(pid);
  }

  /** The end of the log of `containerd`, `kubelet` or `kube-proxy`. */
  async log(name: string): Promise<string> {
    const file = Bun.file(this.machine.at(`${name}.log`));
    return (await file.exists()) ? (await file.text()).slice(-LOG_TAIL) : "(none)";
  }

  [Symbol.dispose](): void {
    this.machine[Symbol.dispose]();
  }
}
