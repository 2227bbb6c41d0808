// SPDX-License-Identifier: Apache-2.0
// zigbee-herdsman, the host side of many home automation systems, drives an emulated stick.
import assert from "node:assert/strict";

import { Said, Stick, within } from "./stick.mjs";

const NETWORK = {
    panID: 0x1a62,
    extendedPanID: [0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd],
    channelList: [15],
    networkKey: [1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13],
    networkKeyDistribute: false,
};
const COORDINATOR = "0x00124b0021a81179";
const START_MS = 25000;

const nodes = {
    lamp: { eui64: "00158d0001020304", address: 0x4a3b },
    sensor: { eui64: "00158d0001020305", address: 0x1b2c },
};

class Host {
    constructor(require, c) {
        this.require = require;
        this.kind = c.host;
        this.network = c.network;
        this.log = [];
        this.events = {};
    }

    // zigbee-herdsman has one logger for all: a case runs in a process of its own.
    async open(stick) {
        const { Adapter } = this.require("zigbee-herdsman/dist/adapter/adapter.js");
        const { setLogger } = this.require("zigbee-herdsman/dist/utils/logger.js");
        const say = (level) => (text, name) =>
            this.log.push(`${level} ${name}: ${typeof text === "function" ? text() : text}`);
        setLogger({
            debug: say("debug"),
            info: say("info"),
            warning: say("warning"),
            error: say("error"),
        });
        this.adapter = await Adapter.create(
            { ...NETWORK, ...this.network },
            { path: stick.path, adapter: this.kind, baudRate: 115200, rtscts: false },
            "",
            { disableLED: false },
        );
        for (const name of ["deviceJoined", "zdoResponse", "zclPayload", "disconnected"]) {
            const said = new Said();
            this.events[name] = said;
            this.adapter.on(name, (...args) => said.add(args));
        }
        return await within(START_MS, "start", this.adapter.start());
    }

    forget() {
        for (const said of Object.values(this.events)) said.all = [];
    }

    async close() {
        await within(5000, "stop", this.adapter.stop());
    }
}

// ---- ZCL, as little of it as it takes -------------------------------------------------------------

const ATTRIBUTE_REPORT = (sequence) => [0x18, sequence, 0x0a, 0x00, 0x00, 0x20, sequence];
const READ_ANSWER = (octets) => [0x18, octets[1], 0x01, 0x00, 0x00, 0x00, 0x20, 0x08];

function readRequest(require, sequence) {
    const Zcl = require("zigbee-herdsman/dist/zspec/zcl");
    return Zcl.Frame.create(
        Zcl.FrameType.GLOBAL,
        Zcl.Direction.CLIENT_TO_SERVER,
        false,
        undefined,
        sequence,
        "read",
        "genBasic",
        [{ attrId: 0 }],
        {},
    );
}

// ---- what every family has to do ------------------------------------------------------------------

async function network({ host }) {
    const parameters = await host.adapter.getNetworkParameters();
    assert.equal(parameters.panID, NETWORK.panID);
    assert.equal(parameters.channel, NETWORK.channelList[0]);
    assert.equal(await host.adapter.getCoordinatorIEEE(), COORDINATOR);
}

async function joins(host, stick, node, how) {
    const number = await stick.join(node.eui64, node.address, how);
    const [joined] = await host.events.deviceJoined.next(
        "deviceJoined",
        ([e]) => e.ieeeAddr === `0x${node.eui64}`,
    );
    assert.equal(joined.networkAddress, node.address);
    return number;
}

async function join({ host, stick }) {
    await within(5000, "permitJoin", host.adapter.permitJoin(60));
    const lamp = await joins(host, stick, nodes.lamp);
    const sensor = await joins(host, stick, nodes.sensor, { sleepy: true });
    await within(5000, "permitJoin", host.adapter.permitJoin(0));
    return { lamp, sensor };
}

// A node that has another address says so; the oldest driver tells of it as of one that joins.
async function announcement(host, node, address) {
    const END_DEVICE_ANNOUNCE = 0x0013;
    if (host.kind === "ezsp")
        return await host.events.deviceJoined.next(
            "join",
            ([e]) => e.ieeeAddr === `0x${node.eui64}` && e.networkAddress === address,
        );
    return await host.events.zdoResponse.next(
        "announce",
        ([cluster, [status, body]]) =>
            cluster === END_DEVICE_ANNOUNCE &&
            status === 0 &&
            body.nwkAddress === address &&
            body.eui64 === `0x${node.eui64}`,
    );
}

async function announced({ host, stick }, { lamp }) {
    for (const address of [0x5566, nodes.lamp.address]) {
        host.forget();
        stick.say("rejoin", lamp, address);
        await announcement(host, nodes.lamp, address);
    }
}

// Who has this name, who has this address? Two drivers can ask only one of it. deCONZ's writes the
// first question in a way that no stick can read: an address of eight octets, announced as one of
// two. Z-Stack's waits for an answer to the second with a field that this answer doesn't have.
async function resolved({ require, host }) {
    const Zdo = require("zigbee-herdsman/dist/zspec/zdo");
    const { NETWORK_ADDRESS_REQUEST, IEEE_ADDRESS_REQUEST } = Zdo.ClusterId;
    const node = nodes.lamp;
    const questions = [];
    if (host.kind !== "deconz") questions.push([NETWORK_ADDRESS_REQUEST, `0x${node.eui64}`]);
    if (host.kind !== "zstack") questions.push([IEEE_ADDRESS_REQUEST, node.address]);
    for (const [cluster, subject] of questions) {
        const request = Zdo.Buffalo.buildRequest(
            host.adapter.hasZdoMessageOverhead,
            cluster,
            subject,
            false,
            0,
        );
        const answer = await within(
            5000,
            "answer",
            host.adapter.sendZdo(`0x${node.eui64}`, node.address, cluster, request, false),
        );
        assert.ok(Zdo.Buffalo.checkStatus(answer));
        assert.equal(answer[1].nwkAddress, node.address);
        assert.equal(answer[1].eui64, `0x${node.eui64}`);
    }
}

async function delivered({ require, host, stick }, { lamp }) {
    stick.answer(lamp, READ_ANSWER);
    const answer = await host.adapter.sendZclFrameToEndpoint(
        `0x${nodes.lamp.eui64}`,
        nodes.lamp.address,
        1,
        readRequest(require, 0x21),
        5000,
        false,
        true,
    );
    assert.deepEqual([...answer.data], READ_ANSWER([0, 0x21]));
    assert.equal(answer.address, nodes.lamp.address);
    assert.equal(answer.linkquality, 200);
    stick.answer(lamp, () => undefined);
}

// One packet that asks for an acknowledgement of the far end; throws unless that came.
const acknowledged = {
    async zstack({ require, host }, address, octets) {
        const { Constants } = require("zigbee-herdsman/dist/adapter/z-stack/unpi");
        const { Type, Subsystem } = Constants;
        const { znp } = host.adapter;
        const confirm = znp.waitFor(Type.AREQ, Subsystem.AF, "dataConfirm", undefined, 77, undefined, 8000);
        await znp.request(
            Subsystem.AF,
            "dataRequest",
            {
                dstaddr: address,
                destendpoint: 1,
                srcendpoint: 1,
                clusterid: 0,
                transid: 77,
                options: 0x10,
                radius: 30,
                len: octets.length,
                data: octets,
            },
            confirm.ID,
        );
        const { status } = (await confirm.start().promise).payload;
        if (status !== 0) throw new Error(`confirm ${status.toString(16)}`);
    },

    async deconz({ host }, address, octets) {
        await host.adapter.driver.enqueueApsDataRequest({
            requestId: host.adapter.nextTransactionID(),
            destAddrMode: 2,
            destAddr16: address,
            destEndpoint: 1,
            profileId: 0x0104,
            clusterId: 0,
            srcEndpoint: 1,
            asduLength: octets.length,
            asduPayload: octets,
            txOptions: 0x04,
            radius: 30,
            timeout: 8000,
        });
    },

    // Those wait for an answer, too, but say earlier when nothing was delivered.
    async ember({ require, host }, address) {
        await host.adapter.sendZclFrameToEndpoint(
            "0x0000000000000000",
            address,
            1,
            readRequest(require, 0x31),
            8000,
            false,
            true,
        );
    },

    // The old driver tells nobody but its log; listen below it.
    async ezsp({ host }, address, octets) {
        const { driver } = host.adapter;
        const frame = driver.makeApsFrame(0, false);
        Object.assign(frame, { profileId: 0x0104, sourceEndpoint: 1, destinationEndpoint: 1, options: 0x0140 });
        const sent = new Said();
        const listen = (name, body) => sent.add([name, body]);
        driver.ezsp.on("frame", listen);
        const result = await driver.ezsp.sendUnicast(0, address, frame, 99, octets);
        assert.equal(result.status, 0);
        const [, { status }] = await sent.next(
            "messageSent",
            ([name, body]) => name === "messageSentHandler" && body.messageTag === 99,
        );
        driver.ezsp.off("frame", listen);
        if (status !== 0) throw new Error(`messageSent ${status.toString(16)}`);
    },
};

// Fails because the stick says so, and not because nobody answers.
async function fails(x, node, address, reason) {
    const began = Date.now();
    const sent = acknowledged[x.host.kind](x, address, Buffer.from([0x00, 0x31, 0x00, 0x00, 0x00]));
    await assert.rejects(within(9000, "failure", sent), reason);
    assert.ok(Date.now() - began < 5000, `it took ${Date.now() - began} ms`);
}

const REASONS = {
    zstack: { silent: /confirm b7/, asleep: /confirm f0/, unknown: /confirm cd/ },
    ember: { silent: /Delivery failed/, asleep: /Delivery failed/, unknown: /Delivery failed/ },
    ezsp: { silent: /messageSent 66/, asleep: /messageSent 66/, unknown: /messageSent 66/ },
    deconz: { silent: /0xa7/, asleep: /0xf0/, unknown: /0xd0/ },
};

async function failed(x, { lamp }) {
    const { stick } = x;
    const reasons = REASONS[x.host.kind];
    stick.say("reach", lamp, 0);
    await fails(x, nodes.lamp, nodes.lamp.address, reasons.silent);
    stick.say("reach", lamp, 1);
    await fails(x, nodes.sensor, nodes.sensor.address, reasons.asleep);
    await fails(x, nodes.lamp, 0x7777, reasons.unknown);
}

async function received({ host, stick }, { lamp, sensor }) {
    for (const [node, address, sequence] of [
        [lamp, nodes.lamp.address, 0x41],
        [sensor, nodes.sensor.address, 0x42],
    ]) {
        stick.send(node, ATTRIBUTE_REPORT(sequence));
        const [payload] = await host.events.zclPayload.next(
            "report",
            ([p]) => p.header?.transactionSequenceNumber === sequence,
        );
        assert.deepEqual([...payload.data], ATTRIBUTE_REPORT(sequence));
        assert.equal(payload.address, address);
        assert.equal(payload.endpoint, 1);
        assert.equal(payload.clusterID, 0);
        assert.equal(payload.linkquality, 200);
        assert.equal(payload.wasBroadcast, false);
    }
    stick.say("broadcast", lamp, Buffer.from(ATTRIBUTE_REPORT(0x43)).toString("hex"));
    const [payload] = await host.events.zclPayload.next(
        "broadcast",
        ([p]) => p.header?.transactionSequenceNumber === 0x43,
    );
    assert.equal(payload.wasBroadcast, host.kind !== "ezsp"); // which can't tell
}

async function broadcast({ require, host, stick }, { lamp }) {
    const frame = readRequest(require, 0x51);
    if (host.kind === "ezsp") {
        // Its own way to all is a multicast to a group that nobody is in.
        const { driver } = host.adapter;
        const aps = driver.makeApsFrame(0, true);
        Object.assign(aps, { profileId: 0x0104, sourceEndpoint: 1, destinationEndpoint: 0xff });
        assert.ok(await driver.brequest(0xfffd, aps, frame.toBuffer()));
    } else {
        await host.adapter.sendZclFrameToAll(0xff, frame, 1, 0xfffd);
    }
    await stick.heard(lamp, frame.toBuffer());
}

// What the host wrote is what it finds the next time: it has nothing to do.
async function again({ require, stick, c, host }) {
    await host.close();
    const next = new Host(require, c);
    assert.equal(await next.open(stick), "resumed");
    if (c.host === "deconz") {
        assert.ok(next.log.some((line) => line.includes("Zigbee configuration valid")));
        assert.ok(!next.log.some((line) => line.includes("Reconfigure Zigbee network")));
    }
    await network({ host: next });
    await next.close();
    return next;
}

export async function drive(x, step) {
    const { require, program, c } = x;
    x.stick = await Stick.plug(program, c.driver, c.firmware, c.formed);
    x.host = new Host(require, c);
    x.log = () => x.host.log;
    if (c.fails !== undefined) {
        await step("start", () => assert.rejects(x.host.open(x.stick), c.fails));
        return;
    }
    await step("start", async () => assert.equal(await x.host.open(x.stick), c.result));
    await step("network", () => network(x));
    if (c.short) return;
    const node = {};
    await step("join", async () => Object.assign(node, await join(x)));
    await step("announced", () => announced(x, node));
    await step("resolved", () => resolved(x));
    await step("delivered", () => delivered(x, node));
    await step("failed", () => failed(x, node));
    await step("received", () => received(x, node));
    await step("broadcast", () => broadcast(x, node));
    if (c.again) await step("again", () => again(x));
}
