import { describe, expect, test } from "bun:test";
import { chooseTxChecksum } from "../../src/desired/tx-checksum.ts";
import { FAMILIES, type Family } from "../../src/net/family.ts";

describe("auto", () => {
  test.each<[kernel: string, driver: string | undefined, wanted: Record<Family, boolean | undefined>]>([
    ["3.10.0-1160.el7.x86_64", "virtio_net", { 4: false, 6: undefined }],
    ["4.19.0-26-amd64", "ixgbe", { 4: false, 6: undefined }],
    ["5.4.0-150-generic", undefined, { 4: false, 6: undefined }],
    ["5.6.19", "vmxnet3", { 4: false, 6: undefined }],
    ["5.7.0", "virtio_net", { 4: undefined, 6: undefined }],
    ["5.8.0-63-generic", "vmxnet3", { 4: undefined, 6: undefined }],
    ["5.9.0", "vmxnet3", { 4: false, 6: false }],
    ["5.15.0-134-generic", "vmxnet3", { 4: false, 6: false }],
    ["5.15.0-134-generic", "ena", { 4: undefined, 6: undefined }],
    ["6.1.0-28-amd64", "virtio_net", { 4: undefined, 6: undefined }],
    ["6.1.0-28-amd64", "vmxnet3", { 4: false, 6: false }],
    ["6.18.44", "veth", { 4: undefined, 6: undefined }],
    ["10.0.0", undefined, { 4: undefined, 6: undefined }],
    ["unheard of", "vmxnet3", { 4: undefined, 6: undefined }],
  ])("on Linux %s with %s: %j", (kernel, driver, wanted) => {
    for (const family of FAMILIES) {
      const choice = chooseTxChecksum("auto", { kernel, driver }, family);
      expect(choice.wanted).toBe(wanted[family]);
      expect(choice.why).toContain(kernel);
      expect(choice.why.startsWith("left as it is")).toBe(wanted[family] === undefined);
    }
  });
});

test("on and off are what they say, whatever the machine", () => {
  for (const family of FAMILIES) {
    for (const kernel of ["4.19.0", "6.18.0"]) {
      const underlay = { kernel, driver: "vmxnet3" };
      expect(chooseTxChecksum("on", underlay, family)).toEqual({ wanted: true, why: "--vxlan-tx-checksum=on" });
      expect(chooseTxChecksum("off", underlay, family)).toEqual({ wanted: false, why: "--vxlan-tx-checksum=off" });
    }
  }
});
