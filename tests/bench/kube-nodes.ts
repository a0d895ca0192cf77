import type { KubeCluster } from "../support/kube.ts";
import type { Peer } from "./peers.ts";

/** How many images kubelet reports (nodeStatusMaxImages). */
const IMAGES = 50;
/** requests under way at once */
const WORKERS = 16;

/** A Node as a kubelet and flanneld make it, about 12 KB. */
function realisticNode(name: string, { subnet, publicIP, mac }: Peer): object {
  const time = new Date().toISOString();
  const images = Array.from({ length: IMAGES }, (_, i) => {
    const repository = `registry.example.com/team-${i}/service-${i}`;
    const digest = new Bun.CryptoHasher("sha256").update(repository).digest("hex");
    return { names: [`${repository}@sha256:${digest}`, `${repository}:v1.${i}`], sizeBytes: 123_456_789 + i };
  });
  const conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map((type) => ({
    type,
    status: type === "Ready" ? "True" : "False",
    lastHeartbeatTime: time,
    lastTransitionTime: time,
    reason: `KubeletHasSufficient${type}`,
    message: `kubelet says that ${type} is as it should be`,
  }));
  return {
    metadata: {
      name,
      labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" },
      annotations: {
        "flannel.alpha.coreos.com/backend-data": `{"VNI":1,"VtepMAC":"${mac}"}`,
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/public-ip": publicIP,
        "node.alpha.kubernetes.io/ttl": "300",
      },
    },
    spec: { podCIDR: `${subnet}/24`, podCIDRs: [`${subnet}/24`], providerID: `example:///zone/${name}` },
    status: {
      addresses: [
        { type: "InternalIP", address: publicIP },
        { type: "Hostname", address: name },
      ],
      capacity: { cpu: "8", memory: "32Gi", pods: "110" },
      allocatable: { cpu: "8", memory: "31Gi", pods: "110" },
      conditions,
      images,
      nodeInfo: {
        architecture: "amd64",
        bootID: crypto.randomUUID(),
        containerRuntimeVersion: "containerd://1.6.20",
        kernelVersion: "6.1.0",
        kubeProxyVersion: "v1.20.2",
        kubeletVersion: "v1.20.2",
        machineID: crypto.randomUUID(),
        operatingSystem: "linux",
        osImage: "Debian GNU/Linux 12",
        systemUUID: crypto.randomUUID(),
      },
    },
  };
}

const nodeName = (number: number): string => `peer-${number}`;

/** Makes a Node of each peer. @returns bytes of one of them as JSON */
export async function createNodes(cluster: KubeCluster, peers: readonly Peer[]): Promise<number> {
  const left = [...peers.entries()];
  const work = async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [number, peer] = next;
      await cluster.request("POST", "/api/v1/nodes", realisticNode(nodeName(number), peer));
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  return JSON.stringify(await cluster.request("GET", `/api/v1/nodes/${nodeName(0)}`)).length;
}

/** What a kubelet sends when nothing happens. */
export async function heartbeat(cluster: KubeCluster, number: number): Promise<void> {
  const conditions = [{ type: "Ready", lastHeartbeatTime: new Date().toISOString() }];
  await cluster.request("PATCH", `/api/v1/nodes/${nodeName(number)}/status`, { status: { conditions } });
}
