// SPDX-License-Identifier: Apache-2.0
// Our emulated sticks against hosts that nobody here wrote.
//
//     node cross.mjs PROGRAMS MODULES [CASE]      CASE: in this process, with the host's log
//
// PROGRAMS is the directory of cross_stick and cross_frames.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

import * as frames from "./frames.mjs";
import * as herdsman from "./herdsman.mjs";
import * as xbee from "./xbee.mjs";

const AT_ONCE = 4;
const CASE_MS = 45000;

// The key that an emulated ConBee has from the start.
const CONBEE = {
    networkKey: Array.from({ length: 16 }, (_, i) => 0x41 + i),
    extendedPanID: [0x00, 0x12, 0x4b, 0x00, 0x21, 0xa8, 0x11, 0x79],
};

const znp = { drive: herdsman.drive, host: "zstack", driver: "znp" };
const ember = { drive: herdsman.drive, host: "ember", driver: "ezsp" };
const old = { ...ember, host: "ezsp" };
const deconz = { drive: herdsman.drive, host: "deconz", driver: "deconz", result: "resumed" };
const formed = { formed: true, result: "resumed" };
const unformed = { formed: false, result: "reset", again: true };
const module = { drive: xbee.drive, formed: true };
const ours = { drive: frames.drive };

// The slow ones first.
const cases = {
    "ezsp 13, network stays down": {
        ...ember,
        firmware: 5,
        ...formed,
        fails: /after 10000ms|timed out|TIMEOUT/i,
    },
    "conbee 2, unformed": { ...deconz, firmware: 0, formed: false, again: true },
    "conbee 2 that tells nothing, unformed": { ...deconz, firmware: 4, formed: false },
    "ezsp 8, unformed, old host": { ...old, firmware: 1, ...unformed },
    "ezsp 7, unformed, old host": { ...old, firmware: 4, ...unformed },
    "z-stack 3.x.0, unformed": { ...znp, firmware: 0, ...unformed },
    "z-stack 3.0.x, unformed": { ...znp, firmware: 1, ...unformed },
    "z-stack 1.2, unformed": { ...znp, firmware: 2, ...unformed, result: "restored" },
    "ezsp 13, old host": { ...old, firmware: 0, ...formed },
    "ezsp 8, old host": { ...old, firmware: 1, ...formed },
    "conbee 2": { ...deconz, firmware: 0, formed: true, network: CONBEE },
    "conbee 3": { ...deconz, firmware: 2, formed: true, network: CONBEE },
    "conbee 1": { ...deconz, firmware: 3, formed: true, network: CONBEE, short: true },
    "ezsp 13, unformed": { ...ember, firmware: 0, ...unformed },
    "ezsp 14, unformed": { ...ember, firmware: 2, ...unformed },
    "ezsp 17, unformed": { ...ember, firmware: 3, ...unformed },
    "z-stack 3.0.x in its boot loader": { ...znp, firmware: 3, ...formed },
    "z-stack 3.x.0": { ...znp, firmware: 0, ...formed },
    "z-stack 3.0.x": { ...znp, firmware: 1, ...formed },
    "z-stack 1.2": { ...znp, firmware: 2, ...formed },
    "ezsp 13": { ...ember, firmware: 0, ...formed },
    "ezsp 14": { ...ember, firmware: 2, ...formed },
    "ezsp 17": { ...ember, firmware: 3, ...formed },
    "xbee zigbee, unformed": { ...module, model: 0, mode: 2, formed: false },
    "xbee zigbee, transparent": { ...module, model: 0, transparent: true },
    "xbee zigbee": { ...module, model: 0, mode: 2 },
    "xbee zigbee, AP 1": { ...module, model: 0, mode: 1 },
    "xbee 802.15.4": { ...module, model: 1, mode: 2 },
    "xbee 802.15.4, AP 1": { ...module, model: 1, mode: 1 },
    "xbee 802.15.4, long addresses": { ...module, model: 2, mode: 2 },
    "xbee 3 802.15.4": { ...module, model: 3, mode: 2 },
    "our frames, z-stack 3.x.0": { ...ours, driver: "znp", firmware: 0, formed: false },
    "our frames, z-stack 3.0.x": { ...ours, driver: "znp", firmware: 3, formed: true },
    "our frames, z-stack 1.2": { ...ours, driver: "znp", firmware: 2, formed: false },
    "our frames, ezsp 8": { ...ours, driver: "ezsp", firmware: 1, formed: false, version: 8 },
    "our frames, ezsp 13": { ...ours, driver: "ezsp", firmware: 0, formed: false, version: 13 },
    "our frames, xbee zigbee": { ...ours, driver: "xbee", firmware: 0, formed: true, mode: 2 },
    "our frames, xbee AP 1": { ...ours, driver: "xbee", firmware: 0x10, formed: true, mode: 1 },
    "our frames, xbee 802.15.4": {
        ...ours,
        driver: "xbee",
        firmware: 1,
        formed: true,
        mode: 2,
        old: true,
    },
};

async function run_here(programs, modules, name) {
    const began = Date.now();
    const x = {
        require: createRequire(resolve(modules, "x")),
        program: resolve(programs, "cross_stick"),
        frames: resolve(programs, "cross_frames"),
        c: cases[name],
    };
    const done = [];
    const step = async (what, act) => {
        try {
            await act();
            done.push(what);
        } catch (error) {
            console.log(x.log().slice(-60).join("\n"));
            console.log(`${error.stack}`);
            throw new Error(`${what}, after ${done.join(", ")}`);
        }
    };
    try {
        await x.c.drive(x, step);
        await x.stick?.unplug();
        console.log(`ok ${name}: ${done.join(", ")} (${Date.now() - began} ms)`);
        process.exit(0);
    } catch (error) {
        console.log(`FAILED ${name}: ${error.message}`);
        x.stick?.process.stdin.end();
        process.exit(1);
    }
}

// In a process of its own, for zigbee-herdsman keeps its queues and its logger in its modules.
function run_apart(programs, modules, name) {
    return new Promise((done) => {
        const self = fileURLToPath(import.meta.url);
        const child = spawn(process.execPath, [self, programs, modules, name], {
            stdio: ["ignore", "pipe", "pipe"],
        });
        const timer = setTimeout(() => child.kill("SIGKILL"), CASE_MS);
        let text = "";
        child.stdout.on("data", (d) => (text += d));
        child.stderr.on("data", (d) => (text += d));
        child.on("close", (code) => {
            clearTimeout(timer);
            done({ passed: code === 0, text: text.trimEnd() });
        });
    });
}

// Somebody else may have taken hold of the terminal; see pass_over_low_numbers() of cross_stick.c.
async function judge(programs, modules, name) {
    let { passed, text } = await run_apart(programs, modules, name);
    if (!passed && text.includes("Cannot lock port"))
        ({ passed, text } = await run_apart(programs, modules, name));
    console.log(passed ? text.split("\n").at(-1) : `${text}\nFAILED ${name}`);
    return passed;
}

async function run_all(programs, modules) {
    const began = Date.now();
    const left = Object.keys(cases);
    let failures = 0;
    const worker = async () => {
        while (left.length > 0) {
            if (!(await judge(programs, modules, left.shift()))) failures++;
        }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    const n = Object.keys(cases).length;
    console.log(`${n - failures} of ${n} passed in ${Math.round((Date.now() - began) / 1000)} s`);
    process.exit(failures === 0 ? 0 : 1);
}

const [programs, modules, name] = process.argv.slice(2);
if (modules === undefined || (name !== undefined && cases[name] === undefined)) {
    console.error("usage: node cross.mjs PROGRAMS MODULES [CASE]");
    console.error(Object.keys(cases).join("\n"));
    process.exit(64);
}
await (name === undefined ? run_all(programs, modules) : run_here(programs, modules, name));
