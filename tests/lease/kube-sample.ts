import { openKubernetes } from "../../src/lease/kube.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import type { KubeCluster } from "../support/kube.ts";
import type { StoreUnderTest } from "./contract.ts";
import { readSampleNetwork } from "./samples.ts";

/** What a pod's environment says of the API server. */
function podEnvironment({ url }: KubeCluster): Record<string, string> {
  const { hostname, port } = new URL(url);
  return { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
}

/** The Nodes of one cluster for one test. */
export class KubeSample implements StoreUnderTest {
  readonly #cluster: KubeCluster;
  readonly #account: string;
  readonly #sources: LeaseSource[] = [];

  private constructor(cluster: KubeCluster, account: string) {
    this.#cluster = cluster;
    this.#account = account;
  }

  static async create(cluster: KubeCluster): Promise<KubeSample> {
    return new KubeSample(cluster, await cluster.serviceAccountFolder());
  }

  open(): LeaseSource {
    const source = openKubernetes({
      environment: { ...podEnvironment(this.#cluster), NODE_NAME: "node-1" },
      serviceAccountFolder: this.#account,
      annotationPrefix: "flannel.alpha.coreos.com",
      setNodeNetworkUnavailable: true,
      readNetwork: readSampleNetwork,
    });
    this.#sources.push(source);
    return source;
  }

  /** As kubelet registers its Node; kube-controller-manager gives it a podCIDR. */
  async prepare(n: number): Promise<void> {
    const name = `node-${n}`;
    await this.#cluster.createNode(name).catch((error: unknown) => {
      if (!String(error).includes("AlreadyExists")) throw error;
    });
    await this.#cluster.assigned(name);
  }

  async remove(key: string): Promise<void> {
    await this.#cluster.deleteNode(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const source of this.#sources) source.close();
    await this.#cluster.deleteAllNodes();
  }
}
