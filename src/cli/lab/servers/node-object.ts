/**
 * A Node as kubelet registers it: its own labels, addresses, room for pods; the rest is others' to add.
 * @param addresses the machine's, on the underlay
 */
export function nodeObject(name: string, addresses: readonly string[], architecture: string): object {
  const os = "linux";
  const capacity = { cpu: "1", memory: "1Gi", pods: "110" };
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      labels: {
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": os,
      },
    },
    spec: {},
    status: {
      capacity,
      allocatable: capacity,
      addresses: [
        ...addresses.map((address) => ({ type: "InternalIP", address })),
        { type: "Hostname", address: name },
      ],
      nodeInfo: {
        architecture,
        operatingSystem: os,
        ...Object.fromEntries(
          ["machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion"].map((key) => [
            key,
            "",
          ]),
        ),
        kubeletVersion: "",
        kubeProxyVersion: "",
      },
    },
  };
}
