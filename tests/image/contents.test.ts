import { describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { authorities, debianItself } from "../../scripts/image/base.ts";
import { contentsOf, documentation } from "../../scripts/image/contents.ts";
import { npmPackages } from "../../scripts/image/npm.ts";
import { PLATFORMS } from "../../scripts/image/platforms.ts";
import type { Entry } from "../../scripts/image/tree.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { program } from "./elf-sample.ts";
import { debianPackage } from "./samples.ts";

const LIBRARIES = "usr/lib/x86_64-linux-gnu";

function write(folder: TemporaryFolder, files: Readonly<Record<string, Uint8Array | string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(folder.at(path)), { recursive: true });
    writeFileSync(folder.at(path), content);
  }
}

const content = (entry: Entry | undefined) =>
  entry?.type === "file"
    ? new TextDecoder().decode(entry.content)
    : entry?.type === "symlink"
      ? entry.target
      : undefined;

/** A package for each of what has to be there, under its Debian name. */
function packages(folder: TemporaryFolder) {
  const plain = program({ needed: [] });
  write(folder, {
    "iptables/usr/sbin/xtables-nft-multi": program({ needed: ["libxtables.so.12"] }),
    "iptables/usr/sbin/xtables-legacy-multi": plain,
    "iptables/usr/sbin/iptables-apply": "#!/bin/sh\n",
    [`iptables/${LIBRARIES}/xtables/libxt_CT.so`]: program({ needed: ["libextra.so.1"] }),
    [`all/${LIBRARIES}/libxtables.so.12.7.0`]: program({ needed: ["libdeep.so.3"] }),
    [`all/${LIBRARIES}/libdeep.so.3`]: plain,
    [`all/${LIBRARIES}/libextra.so.1`]: plain,
    [`all/${LIBRARIES}/libunused.so.1`]: plain,
    "all/lib/x86_64-linux-gnu/libc.so.6": plain,
    "all/lib/x86_64-linux-gnu/libnl-3.so.200": plain,
    [`all/${LIBRARIES}/libnl-route-3.so.200`]: plain,
    [`all/${LIBRARIES}/libnftables.so.1`]: plain,
    [`all/${LIBRARIES}/libgcc_s.so.1`]: plain,
  });
  symlinkSync("libxtables.so.12.7.0", folder.at("all", LIBRARIES, "libxtables.so.12"));
  symlinkSync("libxt_CT.so", folder.at("iptables", LIBRARIES, "xtables", "libxt_NOTRACK.so"));
  return ["iptables", "all"].map((name) => debianPackage(folder.at(name), name));
}

describe("what of Debian goes into the image", () => {
  test("is what is needed, and what that needs", () => {
    using folder = new TemporaryFolder();
    const contents = contentsOf(packages(folder), PLATFORMS.amd64, program({ needed: ["libc.so.6"] }));
    expect([...(contents.get("all")?.keys() ?? [])].sort()).toEqual(
      [
        ...["libc.so.6", "libdeep.so.3", "libextra.so.1", "libgcc_s.so.1", "libnftables.so.1", "libnl-3.so.200"],
        ...["libnl-route-3.so.200", "libxtables.so.12", "libxtables.so.12.7.0"],
      ].map((name) => `${LIBRARIES}/${name}`),
    );
    const iptables = contents.get("iptables");
    expect(content(iptables?.get("usr/sbin/iptables-legacy-save"))).toBe("xtables-legacy-multi");
    expect(content(iptables?.get("usr/sbin/ip6tables-nft-restore"))).toBe("xtables-nft-multi");
    expect(content(iptables?.get("usr/sbin/iptables"))).toBe("xtables-nft-multi");
    expect(content(iptables?.get(`${LIBRARIES}/xtables/libxt_NOTRACK.so`))).toBe("libxt_CT.so");
    expect(iptables?.has("usr/sbin/iptables-apply")).toBe(false);
  });

  test("has to be there", () => {
    using folder = new TemporaryFolder();
    const executable = program({ needed: ["libabsent.so.1"] });
    expect(() => contentsOf(packages(folder), PLATFORMS.amd64, executable)).toThrow(
      `none of the packages iptables, all has ${LIBRARIES}/libabsent.so.1`,
    );
  });

  test("has to be for the image's machine", () => {
    using folder = new TemporaryFolder();
    expect(() => contentsOf(packages(folder), PLATFORMS.amd64, program({ machine: 183 }))).toThrow(
      "the executable is for AArch64, not x86-64",
    );
  });

  test("brings its licence, also where another package has it", () => {
    using folder = new TemporaryFolder();
    write(folder, { "own/usr/share/doc/own/copyright": "free\n", "shared/usr/share/doc/base/copyright": "free\n" });
    symlinkSync("base", folder.at("shared/usr/share/doc/shared"));
    const own = documentation(debianPackage(folder.at("own"), "own"));
    expect(content(own.get("usr/share/doc/own/copyright"))).toBe("free\n");
    expect(content(own.get("var/lib/dpkg/status.d/own"))).toStartWith("Package: own\n");
    const shared = documentation(debianPackage(folder.at("shared"), "shared"));
    expect(content(shared.get("usr/share/doc/shared"))).toBe("base");
  });

  test("is of Debian 12", () => {
    using folder = new TemporaryFolder();
    const files = (version: string) => ({
      "usr/lib/os-release": `ID=debian\nVERSION_ID="${version}"\n`,
      "usr/share/common-licenses/GPL-2": "the text\n",
    });
    const base = debianPackage(folder.path, "base-files");
    write(folder, files("13"));
    expect(() => debianItself(base)).toThrow("not those of Debian 12");
    write(folder, files("12"));
    expect(content(debianItself(base).get("usr/share/common-licenses/GPL-2"))).toBe("the text\n");
  });

  test("holds all authorities in one file", () => {
    using folder = new TemporaryFolder();
    const path = "usr/share/ca-certificates/mozilla";
    write(folder, { [`${path}/b.crt`]: "B\n\n", [`${path}/a.crt`]: "A", [`${path}/README`]: "-" });
    const tree = authorities(debianPackage(folder.path, "ca-certificates"));
    expect(content(tree.get("etc/ssl/certs/ca-certificates.crt"))).toBe("A\nB\n");
  });
});

describe("npm packages in the executable", () => {
  test("are those of its sources, also one in the folder of another", () => {
    using folder = new TemporaryFolder();
    const paths = ["node_modules/@scope/one", "node_modules/two/node_modules/three"];
    for (const path of paths)
      write(folder, { [`${path}/package.json`]: `{"name": "${path.replace(/.*modules\//, "")}"}` });
    const entry = { version: "1.0.0", integrity: "sha512-AA==" };
    write(folder, {
      "package-lock.json": JSON.stringify({ packages: { "": {}, [paths[0] ?? ""]: entry, [paths[1] ?? ""]: entry } }),
    });
    const sources = [
      "src/main.ts",
      ...paths.map((path) => `../x/${path}/dist/index.js`),
      "node_modules/@scope/one/a.js",
    ];
    expect(npmPackages(folder.path, sources).map(({ name, path }) => `${name} ${path}`)).toEqual([
      "@scope/one node_modules/@scope/one",
      "three node_modules/two/node_modules/three",
    ]);
    cpSync(folder.at(paths[0] ?? ""), folder.at("node_modules", "four"), { recursive: true });
    expect(() => npmPackages(folder.path, ["node_modules/four/x.js"])).toThrow(
      "package-lock.json lacks node_modules/four",
    );
  });
});
