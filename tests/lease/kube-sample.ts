import { type KubernetesOptions, openKubernetes } from "../../src/lease/kube.ts";
import type { LeaseSource } from "../../src/lease/source.ts";
import type { KubeCluster, NodeObject } from "../support/kube.ts";
import type { StoreUnderTest } from "./contract.ts";
import { attributesOf, readSampleNetwork } from "./samples.ts";

export const PREFIX = "flannel.alpha.coreos.com/";

/** A source as the agent of Node `name` opens it in a pod with flannel's service account. */
export async function openInPod(
  cluster: KubeCluster,
  name: string,
  options: Partial<KubernetesOptions> = {},
): Promise<LeaseSource> {
  return openKubernetes({
    environment: { ...podEnvironment(cluster), NODE_NAME: name },
    serviceAccountFolder: await cluster.serviceAccountFolder(),
    annotationPrefix: "flannel.alpha.coreos.com",
    setNodeNetworkUnavailable: true,
    readNetwork: readSampleNetwork,
    ...options,
  });
}

/** What a pod's environment says of the API server. */
export function podEnvironment({ url }: KubeCluster): Record<string, string> {
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

/** What flanneld on node `n` has published. */
export function annotationsOf(n: number): Record<string, string> {
  const { publicIPs, vteps } = attributesOf(n);
  return {
    [`${PREFIX}backend-data`]: `{"VNI":1,"VtepMAC":"${vteps[4]?.mac}"}`,
    [`${PREFIX}backend-type`]: "vxlan",
    [`${PREFIX}public-ip`]: `${publicIPs[4]}`,
    [`${PREFIX}kube-subnet-manager`]: "true",
  };
}

export function podCIDRsOf(n: number): { podCIDR: string; podCIDRs: string[] } {
  const podCIDR = `10.244.${n & 255}.0/24`;
  return { podCIDR, podCIDRs: [podCIDR] };
}

/** A Node as a cluster with flannel has it. */
export function createPublished(cluster: KubeCluster, n: number): Promise<NodeObject> {
  return cluster.createNode(`node-${n}`, { annotations: annotationsOf(n), spec: podCIDRsOf(n) });
}
