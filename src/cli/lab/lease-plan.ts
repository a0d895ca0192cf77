import { type Address, familyOf } from "../../net/address.ts";
import { FAMILIES, type PerFamily } from "../../net/family.ts";
import { labPath } from "./lab-folder.ts";

/** Where the agents of a lab keep their leases. */
export const LEASE_KINDS = ["embedded", "etcd", "kube"] as const;
export type LeaseKind = (typeof LEASE_KINDS)[number];

/** A machine on the lab's switch, with the interface eth0. */
export interface LabHost {
  readonly name: string;
  /** network namespace */
  readonly namespace: string;
  /** of eth0, on the underlay */
  readonly addresses: PerFamily<Address>;
}

/** The address that a machine's servers listen on: IPv4 if it has that. */
export function mainAddress({ name, addresses }: LabHost): Address {
  const [address] = FAMILIES.flatMap((family) => addresses[family] ?? []);
  if (address === undefined) throw new TypeError(`${name} has no address`);
  return address;
}

export interface EtcdPlan {
  /** it is a mark of the process, too: see removal.ts */
  readonly dataDir: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly logFile: string;
}

export interface KubePlan {
  /** of certificates and keys; it is a mark of the processes, too: see removal.ts */
  readonly folder: string;
  readonly port: number;
  readonly url: string;
  /** what Nodes get their podCIDRs from: one network, or one of each family, separated by a comma */
  readonly clusterCIDR: string;
  /** of services, which the lab has none of; of the family of the server's address, as the API server wants it */
  readonly serviceCIDR: string;
  /** with the rights of flannel's account */
  readonly agentKubeconfig: string;
  /** with all rights: of the controllers, and of whoever looks inside, on this machine */
  readonly serverKubeconfig: string;
  readonly adminKubeconfig: string;
  /** the administrator's Authorization header, for curl */
  readonly adminHeader: string;
  readonly apiServerLog: string;
  readonly controllersLog: string;
}

export type LeasePlan =
  | { readonly kind: "embedded"; readonly store: string }
  | { readonly kind: "etcd"; readonly host: LabHost; readonly etcd: EtcdPlan }
  | { readonly kind: "kube"; readonly host: LabHost; readonly etcd: EtcdPlan; readonly kube: KubePlan };

/**
 * @param host where the servers run, if the kind has any
 * @param podNetworks in CIDR notation, one of each family
 */
export function planLease(kind: LeaseKind, id: string, host: LabHost, podNetworks: readonly string[]): LeasePlan {
  switch (kind) {
    case "embedded":
      return { kind, store: labPath(id, "leases.db") };
    case "etcd":
      return { kind, host, etcd: planEtcd(id, host) };
    case "kube":
      return { kind, host, etcd: planEtcd(id, host), kube: planKube(id, host, podNetworks) };
  }
}

function planEtcd(id: string, host: LabHost): EtcdPlan {
  const address = mainAddress(host);
  return {
    dataDir: labPath(id, "etcd"),
    clientUrl: urlOf("http", address, 2379),
    peerUrl: urlOf("http", address, 2380),
    logFile: labPath(id, "etcd.log"),
  };
}

function planKube(id: string, host: LabHost, podNetworks: readonly string[]): KubePlan {
  const address = mainAddress(host);
  const port = 6443;
  return {
    folder: labPath(id, "kube"),
    port,
    url: urlOf("https", address, port),
    clusterCIDR: podNetworks.join(","),
    serviceCIDR: familyOf(address) === 6 ? "fd00:10:96::/112" : "10.96.0.0/16",
    agentKubeconfig: labPath(id, "agent.kubeconfig"),
    serverKubeconfig: labPath(id, "kube", "controllers.kubeconfig"),
    adminKubeconfig: labPath(id, "admin.kubeconfig"),
    adminHeader: labPath(id, "admin.header"),
    apiServerLog: labPath(id, "kube-apiserver.log"),
    controllersLog: labPath(id, "kube-controller-manager.log"),
  };
}

function urlOf(scheme: "http" | "https", address: Address, port: number): string {
  return `${scheme}://${familyOf(address) === 6 ? `[${address}]` : address}:${port}`;
}

/** The machine that the lease source's servers run on, if it has any. */
export function serverHost(lease: LeasePlan): LabHost | undefined {
  return lease.kind === "embedded" ? undefined : lease.host;
}

/** What makes an agent use this lease source. */
export function leaseFlags(lease: LeasePlan, netConfPath: string): string[] {
  switch (lease.kind) {
    case "embedded":
      return [`--lease-store=${lease.store}`, `--net-config-path=${netConfPath}`];
    case "etcd":
      return [`--etcd-endpoints=${lease.etcd.clientUrl}`];
    case "kube":
      return [
        "--kube-subnet-mgr",
        `--kubeconfig-file=${lease.kube.agentKubeconfig}`,
        `--net-config-path=${netConfPath}`,
      ];
  }
}
