import { CniRunner, type Conflist, type Json, type Pod, sampleConflist } from "../support/cni.ts";
import { Netns } from "../support/netns.ts";
import { TemporaryFolder } from "../support/temp.ts";

export const SUBNET_ENV = {
  FLANNEL_NETWORK: "10.244.0.0/16",
  FLANNEL_SUBNET: "10.244.7.1/24",
  FLANNEL_MTU: 1430,
  FLANNEL_IPMASQ: "false",
};
export const DUAL_STACK = { FLANNEL_IPV6_NETWORK: "fd00:244::/48", FLANNEL_IPV6_SUBNET: "fd00:244:0:7::1/64" };

/** A node without an agent, whose subnet.env a test writes, and its pods. */
export class SampleNode implements Disposable {
  readonly folder = new TemporaryFolder();
  readonly ns = new Netns();
  readonly runner = new CniRunner(this.ns, this.folder.path);
  readonly list = sampleConflist(this.folder.path);
  readonly #pods: Netns[] = [];

  constructor() {
    this.runner.writeSubnetEnv(SUBNET_ENV);
  }

  pod(containerId: string, more: Partial<Pod> = {}): Pod & { readonly ns: Netns } {
    const ns = new Netns();
    this.#pods.push(ns);
    return { ns, containerId, netns: ns.path, ...more };
  }

  /** The sample list with more in the entry of the plugin, and other plugins after it. */
  listWith(more: Json, rest: Conflist["plugins"] = this.list.plugins.slice(1)): Conflist {
    const { list } = this;
    return { ...list, plugins: [...list.plugins.slice(0, 1).map((entry) => ({ ...entry, ...more })), ...rest] };
  }

  /** Records and addresses. */
  held(): [string[], string[]] {
    return [this.runner.records(), this.runner.addresses()];
  }

  [Symbol.dispose](): void {
    for (const ns of [...this.#pods, this.ns]) ns[Symbol.dispose]();
    this.folder[Symbol.dispose]();
  }
}
