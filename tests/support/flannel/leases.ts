import * as v from "valibot";
import type { EtcdServer } from "../etcd.ts";
import type { KubeCluster } from "../kube.ts";
import { annotationsOf, BACKEND_DATA, PUBLIC_IP } from "./annotations.ts";
import type { FlannelLease } from "./entries.ts";

/** A lease store in flannel's form, with what flanneld does there (its pkg/subnet). */
export interface FlannelLeases {
  /** The MAC that a node published before, as far as the store remembers it for a start. */
  storedMac(node: string): Promise<string | undefined>;
  /** Takes or keeps a node's lease and publishes it. @param gateway as subnet.env has it @returns the subnet */
  acquire(node: string, own: Omit<FlannelLease, "subnet">, gateway: string | undefined): Promise<string>;
  all(): Promise<FlannelLease[]>;
  /** What is told of a node that is up. */
  complete(node: string): Promise<void>;
  /** All leases as they are written there, to be compared. */
  records(): Promise<Readonly<Record<string, unknown>>>;
}

/** A lease's value in etcd. */
export const etcdValue = (publicIP: string, mac: string): string =>
  `{"PublicIP":"${publicIP}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;

const BackendData = v.pipe(v.string(), v.parseJson(), v.object({ VNI: v.number(), VtepMAC: v.string() }));

const UP = {
  type: "NetworkUnavailable",
  status: "False",
  reason: "FlannelIsUp",
  message: "Flannel is running on this node",
};

export class KubeLeases implements FlannelLeases {
  readonly #cluster: KubeCluster;
  readonly #nodes: readonly string[];

  /** @param nodes names of Nodes that are there and have a podCIDR */
  constructor(cluster: KubeCluster, nodes: readonly string[]) {
    this.#cluster = cluster;
    this.#nodes = nodes;
  }

  async storedMac(node: string): Promise<string | undefined> {
    return this.#lease(await this.#cluster.node(node))?.mac;
  }

  async acquire(node: string, { publicIP, mac }: Omit<FlannelLease, "subnet">): Promise<string> {
    const { metadata, spec } = await this.#cluster.node(node);
    const wanted = annotationsOf(publicIP, mac);
    if (Object.entries(wanted).some(([key, value]) => metadata.annotations[key] !== value)) {
      await this.#patch(node, { metadata: { annotations: wanted } });
    }
    if (spec.podCIDR === undefined) throw new Error(`node ${node} has no podCIDR`);
    return spec.podCIDR;
  }

  async all(): Promise<FlannelLease[]> {
    const nodes = await Promise.all(this.#nodes.map((name) => this.#cluster.node(name)));
    return nodes.flatMap((node) => this.#lease(node) ?? []);
  }

  async complete(node: string): Promise<void> {
    await this.#patch(node, { status: { conditions: [{ ...UP, lastTransitionTime: new Date() }] } });
  }

  async records(): Promise<Readonly<Record<string, unknown>>> {
    const nodes = await Promise.all(this.#nodes.map((name) => this.#cluster.node(name)));
    return Object.fromEntries(
      nodes.map(({ metadata, status }) => [
        metadata.name,
        {
          annotations: metadata.annotations,
          conditions: status.conditions.map(({ type, status: value, reason }) => ({ type, status: value, reason })),
        },
      ]),
    );
  }

  #lease({ metadata, spec }: Awaited<ReturnType<KubeCluster["node"]>>): FlannelLease | undefined {
    const data = v.safeParse(BackendData, metadata.annotations[BACKEND_DATA]);
    const publicIP = metadata.annotations[PUBLIC_IP];
    if (!data.success || publicIP === undefined || spec.podCIDR === undefined) return undefined;
    return { subnet: spec.podCIDR, publicIP, mac: data.output.VtepMAC };
  }

  async #patch(node: string, body: object): Promise<void> {
    await this.#cluster.request("PATCH", `/api/v1/nodes/${node}/status`, body);
  }
}

const KEYS = "/coreos.com/network/subnets/";
const Value = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ PublicIP: v.string(), BackendData: v.object({ VtepMAC: v.string() }) }),
);
const Range = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ kvs: v.optional(v.array(v.object({ key: v.string(), value: v.string() })), []) }),
);
const decode = (base64: string): string => Buffer.from(base64, "base64").toString();

export class EtcdLeases implements FlannelLeases {
  readonly #etcd: EtcdServer;
  readonly #free: string[];

  /** @param free subnets for nodes that have none yet, of which flanneld would take one at random */
  constructor(etcd: EtcdServer, free: readonly string[]) {
    this.#etcd = etcd;
    this.#free = [...free];
  }

  /** It remembers none: a device that is made anew gets another MAC. */
  async storedMac(): Promise<undefined> {}

  async acquire(_: string, { publicIP, mac }: Omit<FlannelLease, "subnet">, gateway?: string): Promise<string> {
    const leases = await this.all();
    const previous = gateway?.replace(/1\/24$/, "0/24");
    const isFree = (subnet?: string) => leases.every((lease) => lease.subnet !== subnet);
    const subnet =
      leases.find((lease) => lease.publicIP === publicIP)?.subnet ??
      (isFree(previous) ? previous : undefined) ??
      this.#free.shift();
    if (subnet === undefined) throw new Error("there is no free subnet");
    const id = /^lease (\w+) granted/.exec(await this.#etcd.ctl(["lease", "grant", "86400"]))?.[1];
    const key = KEYS + subnet.replace("/", "-");
    await this.#etcd.ctl(["put", key, etcdValue(publicIP, mac), `--lease=${id}`]);
    return subnet;
  }

  async all(): Promise<FlannelLease[]> {
    return [...(await this.#read())].map(([key, text]) => {
      const { PublicIP, BackendData } = v.parse(Value, text);
      return { subnet: key.slice(KEYS.length).replace("-", "/"), publicIP: PublicIP, mac: BackendData.VtepMAC };
    });
  }

  /** The lease is all that it has there. */
  async complete(): Promise<void> {}

  async records(): Promise<Readonly<Record<string, unknown>>> {
    return Object.fromEntries(await this.#read());
  }

  async #read(): Promise<Map<string, string>> {
    const { kvs } = v.parse(Range, await this.#etcd.ctl(["get", "--prefix", KEYS, "--write-out=json"]));
    return new Map(kvs.map(({ key, value }) => [decode(key), decode(value)]));
  }
}
