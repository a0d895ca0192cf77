import { beforeAll } from "bun:test";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { leaseSourceContract } from "./contract.ts";
import { KubeSample } from "./kube-sample.ts";

describeWithKubernetes("with a real API server", () => {
  const kubernetes = useKubernetes();
  let cluster: KubeCluster;

  beforeAll(async () => {
    cluster = await kubernetes.start({ clusterCIDR: "10.244.0.0/16" });
  });

  leaseSourceContract("Kubernetes", { allocating: false, expiring: false }, () => KubeSample.create(cluster));
});
