import { type CoreV1Api, PatchStrategy, setHeaderOptions, type V1Node } from "@kubernetes/client-node";
import { UsageError } from "../base/errors.ts";
import type { AnnotationNames } from "./kube-annotations.ts";
import { decodeNode, type KubeNode } from "./kube-proto.ts";
import type { KubeTransport } from "./kube-transport.ts";

/** How a Node's own agent learns the Node's name: from NODE_NAME, or from the pod that it runs in. */
export type NodeIdentity = { readonly node: string } | { readonly pod: string; readonly namespace: string };

/** @throws UsageError */
export function nodeIdentity(environment: Readonly<Record<string, string | undefined>>): NodeIdentity {
  const { NODE_NAME: node, POD_NAME: pod, POD_NAMESPACE: namespace } = environment;
  if (node) return { node };
  if (pod && namespace) return { pod, namespace };
  throw new UsageError(
    "--kube-subnet-mgr needs to know this node's name: set NODE_NAME to it, or POD_NAME and POD_NAMESPACE to the agent's own pod",
  );
}

/** The requests about our own Node. All reject with KubeError, or with the signal's reason. */
export class OwnNode {
  readonly #transport: KubeTransport;
  readonly #names: AnnotationNames;
  readonly #identity: NodeIdentity;
  #name: string | undefined;

  constructor(transport: KubeTransport, names: AnnotationNames, identity: NodeIdentity) {
    this.#transport = transport;
    this.#names = names;
    this.#identity = identity;
  }

  async name(signal: AbortSignal): Promise<string> {
    if ("node" in this.#identity) return this.#identity.node;
    if (this.#name === undefined) {
      const { pod: name, namespace } = this.#identity;
      const pod = await this.#core(signal).readNamespacedPod({ name, namespace });
      this.#name = pod.spec?.nodeName;
      if (!this.#name) throw new Error(`pod ${namespace}/${name} is on no Node yet; set NODE_NAME to this node's name`);
    }
    return this.#name;
  }

  async read(name: string, signal: AbortSignal): Promise<KubeNode> {
    const path = `/api/v1/nodes/${encodeURIComponent(name)}`;
    return decodeNode(await this.#transport.bytes(path, signal), this.#names.all);
  }

  /** Writes annotations. @returns the Node as it is then */
  async annotate(name: string, annotations: Readonly<Record<string, string>>, signal: AbortSignal): Promise<KubeNode> {
    return this.#keptOf(await this.#patch(name, { metadata: { annotations } }, signal));
  }

  /** Tells the cluster that the Node's pods have their network, as flannel does. @returns the Node's UID */
  async setNetworkAvailable(name: string, signal: AbortSignal): Promise<string> {
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const condition = {
      type: "NetworkUnavailable",
      status: "False",
      lastHeartbeatTime: now,
      lastTransitionTime: now,
      reason: "FlannelIsUp",
      message: "Flannel is running on this node",
    };
    return (await this.#patch(name, { status: { conditions: [condition] } }, signal)).metadata?.uid ?? "";
  }

  /** flannel's ClusterRole allows to patch a Node's status and nothing else of it; annotations go that way, too. */
  #patch(name: string, body: object, signal: AbortSignal): Promise<V1Node> {
    const options = setHeaderOptions("Content-Type", PatchStrategy.StrategicMergePatch);
    return this.#core(signal).patchNodeStatus({ name, body }, options);
  }

  #core(signal: AbortSignal): CoreV1Api {
    return this.#transport.core(signal);
  }

  #keptOf({ metadata, spec }: V1Node): KubeNode {
    const annotations = Object.entries(metadata?.annotations ?? {}).filter(([name]) => this.#names.all.has(name));
    return {
      name: metadata?.name ?? "",
      uid: metadata?.uid ?? "",
      resourceVersion: metadata?.resourceVersion ?? "",
      createdAt: metadata?.creationTimestamp?.getTime() ?? 0,
      annotations: Object.fromEntries(annotations),
      podCIDRs: spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []),
    };
  }
}
