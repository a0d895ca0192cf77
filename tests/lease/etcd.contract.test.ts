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

  leaseSourceContract("etcd", { allocating: true, expiring: true }, async () => new EtcdSample(server));
});
