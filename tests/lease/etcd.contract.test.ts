import { beforeAll } from "bun:test";
import { describeWithEtcd, type EtcdServer, useEtcd } from "../support/etcd.ts";
import { leaseSourceContract } from "./contract.ts";
import { EtcdSample } from "./etcd-sample.ts";

describeWithEtcd("etcd keeps the contract of a lease source", () => {
  const etcd = useEtcd();
  let server: EtcdServer;

  beforeAll(async () => {
    server = await etcd.start();
  });

  for (const families of [[4], [6], [4, 6]] as const) {
    // Time passes for real there, and whose addresses they are makes no difference to it.
    const capabilities = { allocating: true, expiring: !families.some((family) => family === 6) };
    leaseSourceContract("etcd", capabilities, async () => new EtcdSample(server), families);
  }
});
