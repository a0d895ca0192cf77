import { beforeAll } from "bun:test";
import type { Family } from "../../src/net/family.ts";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { leaseSourceContract } from "./contract.ts";
import { KubeSample } from "./kube-sample.ts";

const CLUSTERS: readonly (readonly [clusterCIDR: string, families: readonly Family[]])[] = [
  ["10.244.0.0/16", [4]],
  ["fd00:10:244::/48", [6]],
  ["10.244.0.0/16,fd00:10:244::/48", [4, 6]],
];

for (const [clusterCIDR, families] of CLUSTERS) {
  describeWithKubernetes(`with a real API server that gives out ${clusterCIDR}`, () => {
    const kubernetes = useKubernetes();
    let cluster: KubeCluster;

    beforeAll(async () => {
      cluster = await kubernetes.start({ clusterCIDR, dualStack: families.length > 1 });
    });

    leaseSourceContract(
      "Kubernetes",
      { allocating: false, expiring: false },
      () => KubeSample.create(cluster),
      families,
    );
  });
}
