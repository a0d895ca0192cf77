import { describe, expect, test } from "bun:test";
import { planText } from "../../src/cli/diff/command.ts";
import { desiredFrom, isAgentsKernel } from "../../src/cli/diff/desired.ts";

const DESIRED = {
  items: [
    {
      kind: "route",
      family: "ipv4",
      device: "flannel.1",
      destination: "10.244.2.0/24",
      gateway: "10.244.2.0",
      onlink: true,
      protocol: 115,
    },
    { kind: "neighbour", family: "ipv4", device: "flannel.1", address: "10.244.2.0", mac: "02:00:00:00:00:02" },
    { kind: "forwarding", family: "ipv4", device: "flannel.1", mac: "02:00:00:00:00:02", destination: "192.0.2.2" },
  ] as const,
  ...{ total: 3, offset: 0, next: null, blackholes: ["10.244.1.0/24"], networks: ["10.244.0.0/16", "fd00::/48"] },
  devices: [
    {
      ...{
        name: "flannel.1",
        family: "ipv4" as const,
        vni: 1,
        port: null,
        gbp: false,
        learning: false,
        mac: "02:00:00:00:00:01",
      },
      ...{ mtu: 1450, local: "192.0.2.1", underlay: 2, address: "10.244.1.0", network: "10.244.0.0/16" },
      ...{ txChecksum: { wanted: "off" as const, actual: null, why: "a fault" }, neighbours: 1, forwarding: 1 },
    },
  ],
};

describe("what the agent wants is read back", () => {
  test("as it was made", () => {
    const desired = desiredFrom({ ...DESIRED, items: [...DESIRED.items] });
    const [device] = desired.devices;
    expect([...(device?.neighbours ?? [])].map(String)).toEqual(["10.244.2.0,02:00:00:00:00:02"]);
    expect([...(device?.forwarding ?? [])].map(String)).toEqual(["02:00:00:00:00:02,192.0.2.2"]);
    expect(device).toMatchObject({ family: 4, port: undefined, txChecksum: { wanted: false } });
    expect(desired.routes.get("10.244.2.0/24")).toMatchObject({
      gateway: "10.244.2.0",
      device: "flannel.1",
      onlink: true,
    });
    expect(Object.keys(desired.networks)).toEqual(["4", "6"]);
  });

  test("or refused with what is wrong in it", () => {
    const [route, ...rest] = DESIRED.items;
    const items = [{ ...route, gateway: "nonsense" }, ...rest];
    expect(() => desiredFrom({ ...DESIRED, items })).toThrow('the agent names "nonsense" where an address has to be');
  });

  test("and is of this kernel only where the interface below has its address", () => {
    const desired = desiredFrom({ ...DESIRED, items: [...DESIRED.items] });
    const actual = (index: number, address: string) => ({
      ...{ links: new Map(), routes: new Map(), neighbours: new Map(), forwarding: new Map() },
      addresses: new Map([
        [index, [{ ...{ index, length: 24, family: 4 as const, address: address as never }, ...NO_FLAGS }]],
      ]),
    });
    expect(isAgentsKernel(desired, actual(2, "192.0.2.1"))).toBe(true);
    expect(isAgentsKernel(desired, actual(3, "192.0.2.1"))).toBe(false);
    expect(isAgentsKernel(desired, actual(2, "192.0.2.9"))).toBe(false);
  });
});

const NO_FLAGS = { deprecated: false, duplicate: false, permanent: true, temporary: false };

describe("the plan", () => {
  const screen = { paint: (_: unknown, text: string) => text, width: 80 };
  const change = (action: "add" | "change" | "remove", object: string) => ({
    action,
    kind: "route",
    object,
    why: "w".repeat(90),
  });

  test("has a sign for each change, fits 80 columns, and ends with counts", () => {
    const changes = [
      change("add", "fd00:10:244:ffff:ffff:ffff:ffff:0/112"),
      change("change", "b"),
      change("remove", "c"),
    ];
    const lines = planText({ source: "kernel", changes, pruning: true }, screen).trimEnd().split("\n");
    expect(lines.map((line) => line[0])).toEqual(["+", "~", "-", "3"]);
    expect(lines.at(-1)).toBe("3 changes: 1 to add, 1 to change, 1 to remove (the kernel, read by this command)");
    for (const line of lines.slice(0, 3)) expect(Bun.stringWidth(line)).toBe(80);
  });

  test("says which kernel it looked at where nothing is to be done", () => {
    expect(planText({ source: "agent", changes: [], pruning: true }, screen)).toBe(
      "The kernel, as the agent knows it, is as desired.\n",
    );
    expect(planText({ source: "kernelAlone", changes: [] }, screen)).toBe(
      "The kernel by itself shows nothing wrong.\n",
    );
  });
});
