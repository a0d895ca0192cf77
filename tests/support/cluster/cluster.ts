import { KubeCluster } from "../kube.ts";
import { Kubectl } from "../kubectl.ts";
import type { Netns } from "../netns.ts";
import { Overlay } from "../overlay.ts";
import { TemporaryFolder } from "../temp.ts";
import { eventually } from "../wait.ts";
import { busyboxImage } from "./busybox.ts";
import { removeCgroupsOfDeadRuns } from "./cgroups.ts";
import { removeMachinesOnExit } from "./machine.ts";
import { ClusterNode } from "./node.ts";

const CLUSTER_CIDR = "10.244.0.0/16";
/** host numbers on the switch: 192.0.2.0/24 */
const SERVER = 250;
const GATEWAY = 254;
/** behind the gateway, which knows nothing of pods */
export const OUTSIDE = "198.51.100.1";

/** Kubernetes as it is, on machines on one switch. */
export class TestCluster implements AsyncDisposable {
  readonly nodes = new Map<string, ClusterNode>();
  readonly #folder = new TemporaryFolder();
  readonly #overlay: Overlay;
  readonly #images: readonly string[];
  #gateway: Netns | undefined;
  #kube: KubeCluster | undefined;
  #kubectl: Kubectl | undefined;
  #machines = 0;

  private constructor(images: readonly string[]) {
    removeMachinesOnExit();
    this.#overlay = new Overlay(this.#folder.path);
    this.#images = [...images, this.#folder.at("busybox.tar")];
  }

  /** Starts the control plane. @param images archives that every node gets */
  static async start(images: readonly string[]): Promise<TestCluster> {
    removeCgroupsOfDeadRuns();
    const cluster = new TestCluster(images);
    try {
      await cluster.#start();
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  async #start(): Promise<void> {
    await Bun.write(this.#folder.at("busybox.tar"), busyboxImage());
    await this.#overlay.create(0);
    this.#gateway = await this.#overlay.addHost(GATEWAY);
    await this.#gateway.exec(["ip", "address", "add", `${OUTSIDE}/32`, "dev", "lo"]);
    const ns = await this.#overlay.addHost(SERVER);
    const place = { ns, address: `192.0.2.${SERVER}` };
    this.#kube = await KubeCluster.start({ place, clusterCIDR: CLUSTER_CIDR, complete: true });
    const kubectl = await Kubectl.of(this.#kube, ns);
    this.#kubectl = kubectl;
    await eventually(() => kubectl.run(["get", "serviceaccount", "default"]), {
      within: 60_000,
      what: "the controller has made the account that pods get",
    });
  }

  /** a machine that is no node of the cluster, with the address OUTSIDE */
  get gateway(): Netns {
    if (this.#gateway === undefined) throw new Error("the cluster was not started");
    return this.#gateway;
  }

  get kubectl(): Kubectl {
    if (this.#kubectl === undefined) throw new Error("the cluster was not started");
    return this.#kubectl;
  }

  /** Starts a machine and makes a node of it. @param number the last one of its address */
  async addNode(number: number): Promise<ClusterNode> {
    const ns = await this.#overlay.addHost(number);
    await ns.exec(["ip", "route", "add", "default", "via", `192.0.2.${GATEWAY}`]);
    await ns.sysctl("ipv4.ip_forward", 1);
    const node = await ClusterNode.start({
      ns,
      name: `n${number}`,
      address: `192.0.2.${number}`,
      folder: this.#folder.at(`machine-${this.#machines++}`),
      kubeconfig: this.kubectl.kubeconfig,
      clusterCIDR: CLUSTER_CIDR,
    });
    this.nodes.set(node.name, node);
    for (const archive of this.#images) await node.ctr("images", "import", archive);
    node.join();
    return node;
  }

  node(name: string): ClusterNode {
    const node = this.nodes.get(name);
    if (node === undefined)
      throw new Error(`the cluster has no node ${name}, but ${[...this.nodes.keys()].join(", ")}`);
    return node;
  }

  /** Waits until all nodes that there are take pods. @throws Error with the ends of their kubelets' logs */
  async nodesReady(): Promise<void> {
    const all = [...this.nodes.values()];
    const names = all.map(({ name }) => `node/${name}`);
    try {
      await eventually(() => this.kubectl.run(["get", ...names, "-o=name"]), {
        within: 60_000,
        what: "the kubelets have registered their Nodes",
      });
      await this.kubectl.run(["wait", "--for=condition=Ready", ...names, "--timeout=180s"]);
    } catch (cause) {
      const logs = await Promise.all(all.map(async (node) => `${node.name}'s kubelet:\n${await node.log("kubelet")}`));
      throw new Error(logs.join("\n"), { cause });
    }
  }

  /** The machine goes as if its power failed, and its Node with it. */
  async removeNode(name: string): Promise<void> {
    const node = this.node(name);
    // Its port of the switch, which would go some time after the machine.
    await node.machine.exec(["ip", "link", "delete", "eth0"]);
    node[Symbol.dispose]();
    this.nodes.delete(name);
    await this.kubectl.run(["delete", "node", name]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes.values()) node[Symbol.dispose]();
    await this.#kube?.[Symbol.asyncDispose]();
    this.#overlay[Symbol.dispose]();
    this.#folder[Symbol.dispose]();
  }
}
