-- A catalog from before catalogs had revisions: made through the catalog's classes of commit 75f18de, which asked
-- for cases, labels, leases, scores, jobs, model versions and deliveries, and written by `sqlite3.Connection.iterdump`.
BEGIN TRANSACTION;
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	time FLOAT NOT NULL, 
	who TEXT NOT NULL, 
	action TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	detail JSON NOT NULL, 
	chain TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1.79528116699050116541e+09,'anna','label.submit','1.2.826.0.1.1','{"tag": "final", "number": 1, "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "model": ""}','47838fcb33e963e1101f438e4a2838391bd5c3388dbf7d5fae4733c6ae98b334');
INSERT INTO "audit" VALUES(2,1.79528116705801296234e+09,'anna','label.submit','1.2.826.0.1.1','{"tag": "final", "number": 2, "sha256": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "model": ""}','8ba852bd44db1c57cd78c949b8aaf6c041929bc6ac779c61719b502ba437ecb7');
INSERT INTO "audit" VALUES(3,1.79528116710951137543e+09,'björn','label.submit','1.2.826.0.1.2','{"tag": "final", "number": 1, "sha256": "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", "model": "segmentation"}','8873330fb838c00af195e6306bf64f858ef8dcbdd6008bc7159ceb3f8f9fe195');
INSERT INTO "audit" VALUES(4,1.79528116715962028507e+09,'','label.submit','1.2.826.0.1.2','{"tag": "original", "number": 1, "sha256": "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd", "model": "segmentation"}','a93612e7afbadb593d0973289e5f6eb00befa945a88b9725b555ea1cbed5446e');
INSERT INTO "audit" VALUES(5,1.79528116718899559975e+09,'anna','label.submit','1.2.826.0.1.3','{"tag": "final", "number": 1, "sha256": "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "model": ""}','7bee39e895811e8e73e84ea80089d0e4803f6694f456f49af39a764d1dd9aaa6');
INSERT INTO "audit" VALUES(6,1.79528116724521064756e+09,'chen','label.submit','1.2.826.0.1.4','{"tag": "draft", "number": 1, "sha256": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "model": ""}','2ddc314d86cbcbe6efc2124f3861345dd49b444bdcc4c575b38e8a421fc9283c');
INSERT INTO "audit" VALUES(7,1.79528116728057646755e+09,'anna','label.submit','sent-2','{"tag": "final", "number": 1, "sha256": "9999999999999999999999999999999999999999999999999999999999999999", "model": ""}','95e6bed426b98849e134742598e35c0c3fbfb533d6fbc57b519107c64c9a2c9b');
INSERT INTO "audit" VALUES(8,1.79528116745336675645e+09,'chen','label.delete','1.2.826.0.1.4','{"tag": "draft", "versions": 1}','e627c6203ca50bfb0a57665581983dace64fddd20f1600d51217567d66cfdf1b');
INSERT INTO "audit" VALUES(9,1.79528116748510694505e+09,'anna','label.note','2','{"seen": true}','4d6ce33018517a8234723ad2a18aa44d48660eafb4add22627b5ce6e99fd5757');
INSERT INTO "audit" VALUES(10,1.7952811678864393234e+09,'job','model.version','segmentation-1','{"state": "published", "reason": "it isn''t worse", "served": true}','4e3e9edbb09c1876f93c9facb0d5542643b20b84e08b07e063eb388e4f638bca');
INSERT INTO "audit" VALUES(11,1.79528116793282127377e+09,'job','model.version','segmentation-2','{"state": "rejected", "reason": "dice fell\nby 0.1", "served": false}','da8de9df83121a4ef91b02005b412ab16f0df8e469d3996e94668435b3244950');
INSERT INTO "audit" VALUES(12,1.79528116794985747334e+09,'job','model.version','segmentation-3','{"state": "published", "reason": "it isn''t worse", "served": true}','380361c210b4419f3dc7dcff52c40bc7b81bf1df1ecd8b7b411dd753ce41051d');
INSERT INTO "audit" VALUES(13,1.79528116799660396579e+09,'anna','model.serve','segmentation-1','{"before": "segmentation-3"}','130d72ae318f39688fa4ac1c00788c871455a86eed08770bcfd423a0ded3082d');
CREATE TABLE case_ (
	position INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	stamp TEXT NOT NULL, 
	location TEXT DEFAULT '' NOT NULL, 
	patient_key TEXT DEFAULT '' NOT NULL, 
	patient_id TEXT DEFAULT '' NOT NULL, 
	study_uid TEXT DEFAULT '' NOT NULL, 
	series_uid TEXT DEFAULT '' NOT NULL, 
	modality TEXT DEFAULT '' NOT NULL, 
	description TEXT DEFAULT '' NOT NULL, 
	body_part TEXT DEFAULT '' NOT NULL, 
	manufacturer TEXT DEFAULT '' NOT NULL, 
	study_date TEXT DEFAULT '' NOT NULL, 
	study_time TEXT DEFAULT '' NOT NULL, 
	frame_of_reference_uid TEXT DEFAULT '' NOT NULL, 
	instances INTEGER DEFAULT '0' NOT NULL, 
	warnings JSON NOT NULL, 
	problem TEXT DEFAULT '' NOT NULL, 
	first_seen FLOAT NOT NULL, 
	served FLOAT DEFAULT '0' NOT NULL, 
	served_by JSON NOT NULL, 
	info JSON NOT NULL, 
	offered BOOLEAN DEFAULT 1 NOT NULL, 
	expires FLOAT, 
	gone BOOLEAN DEFAULT 0 NOT NULL, 
	completed BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (position), 
	UNIQUE (id)
);
INSERT INTO "case_" VALUES(1,'1.2.826.0.1.1','archive','series','stamp 1','loc/1','patient 1','patient 1','1.2.826.0.2.1','1.2.826.0.1.1','CT','Abdomen, "arterial" phase; Größe µ 肝臓','ABDOMEN','Maker''s','20260102','101112.5','1.2.826.0.3.1',31,'[]','',1.79528116663868331911e+09,0.0,'{}','{"note": "line one\nline two", "strategy": {"first": {"ts": 1}}}',1,NULL,0,1);
INSERT INTO "case_" VALUES(2,'1.2.826.0.1.2','archive','series','stamp 2','loc/2','patient 2','patient 2','1.2.826.0.2.2','1.2.826.0.1.2','CT','Abdomen, "arterial" phase; Größe µ 肝臓','ABDOMEN','Maker''s','20260102','101112.5','1.2.826.0.3.2',32,'["gantry tilt"]','',1.79528116668371367451e+09,0.0,'{}','{}',1,NULL,0,1);
INSERT INTO "case_" VALUES(3,'1.2.826.0.1.3','archive','series','stamp 3','loc/3','patient 0','patient 0','1.2.826.0.2.3','1.2.826.0.1.3','CT','Abdomen, "arterial" phase; Größe µ 肝臓','ABDOMEN','Maker''s','20260102','101112.5','1.2.826.0.3.3',33,'[]','',1.79528116668524336807e+09,0.0,'{}','{}',1,NULL,0,1);
INSERT INTO "case_" VALUES(4,'1.2.826.0.1.4','archive','series','stamp 4','loc/4','patient 1','patient 1','1.2.826.0.2.4','1.2.826.0.1.4','CT','Abdomen, "arterial" phase; Größe µ 肝臓','ABDOMEN','Maker''s','20260102','101112.5','1.2.826.0.3.4',34,'[]','',1.79528116668621134759e+09,1.79528116751143074041e+09,'{"first": {"ts": 1795281167, "client_id": "bj\u00f6rn"}}','{}',1,NULL,0,0);
INSERT INTO "case_" VALUES(5,'1.2.826.0.1.5','archive','series','stamp 5','loc/5','patient 2','patient 2','1.2.826.0.2.5','1.2.826.0.1.5','CT','Abdomen, "arterial" phase; Größe µ 肝臓','ABDOMEN','Maker''s','20260102','101112.5','1.2.826.0.3.5',35,'[]','',1.79528116670406532283e+09,0.0,'{}','{}',1,NULL,1,0);
INSERT INTO "case_" VALUES(6,'1.2.826.0.1.6','archive','series','stamp 6','loc/6','patient 0','patient 0','1.2.826.0.2.6','1.2.826.0.1.6','CT','Abdomen, "arterial" phase; Größe µ 肝臓','ABDOMEN','Maker''s','20260102','101112.5','1.2.826.0.3.6',36,'[]','slices are missing',1.79528116671741104124e+09,0.0,'{}','{}',1,NULL,0,0);
INSERT INTO "case_" VALUES(7,'sent-1','upload','file','s1','sent-1.nii.gz','sent-1','','','','','','','','','','',0,'[]','',1.79528116675713419916e+09,0.0,'{}','{}',0,4000000000.0,0,0);
INSERT INTO "case_" VALUES(8,'sent-2','upload','file','s2','sent-2.nii.gz','sent-2','','','','','','','','','','',0,'[]','',1.79528116677685236927e+09,1.79528116754140067102e+09,'{"random": {"ts": 1795281167, "client_id": "chen"}}','{}',1,NULL,0,1);
CREATE TABLE fingerprint (
	case_id TEXT NOT NULL, 
	stamp TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (case_id), 
	FOREIGN KEY(case_id) REFERENCES case_ (id)
);
INSERT INTO "fingerprint" VALUES('1.2.826.0.1.1','stamp 1','0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO "fingerprint" VALUES('1.2.826.0.1.2','stamp 2','0000000000000000000000000000000000000000000000000000000000000001');
INSERT INTO "fingerprint" VALUES('1.2.826.0.1.3','stamp 3','0000000000000000000000000000000000000000000000000000000000000002');
CREATE TABLE job (
	number INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	request JSON NOT NULL, 
	priority INTEGER DEFAULT '0' NOT NULL, 
	progress FLOAT DEFAULT '0' NOT NULL, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	pid INTEGER, 
	pid_started FLOAT, 
	stop_requested BOOLEAN DEFAULT 0 NOT NULL, 
	created FLOAT NOT NULL, 
	started FLOAT, 
	ended FLOAT, 
	result JSON NOT NULL, 
	error TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (number), 
	UNIQUE (id)
);
INSERT INTO "job" VALUES(1,'3fa4252033e941c68729f374b2721e86','train','segmentation','done','{"epochs": 3, "who": "anna"}',2,1.0,1,4242,1764000000.125,0,1.79528116757603049282e+09,1.79528116760013508801e+09,1.79528116768893718723e+09,'{"version": "segmentation-1"}','');
INSERT INTO "job" VALUES(2,'bf3c7aa875654e77b3208caf59b9f766','score','entropy','failed','{"model": "segmentation"}',0,0.0,1,4243,1764000001.5,0,1.79528116771315860746e+09,1.7952811677320642471e+09,1.79528116774341821673e+09,'{}','Traceback:
  line
ValueError: no');
INSERT INTO "job" VALUES(3,'8e182a63123d4ab98226137bcd196ccf','train','segmentation','queued','{}',0,0.0,0,NULL,NULL,0,1.79528116776950621598e+09,NULL,NULL,'{}','');
CREATE TABLE job_event (
	id INTEGER NOT NULL, 
	job_id TEXT NOT NULL, 
	time FLOAT NOT NULL, 
	kind TEXT NOT NULL, 
	data JSON NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(job_id) REFERENCES job (id)
);
INSERT INTO "job_event" VALUES(1,'3fa4252033e941c68729f374b2721e86',1.79528116765189456934e+09,'log','{"line": "epoch 1\t\"x\""}');
INSERT INTO "job_event" VALUES(2,'3fa4252033e941c68729f374b2721e86',1795281167.67199,'epoch','{"epoch": 1, "dice": 0.8125}');
CREATE TABLE label (
	id INTEGER NOT NULL, 
	case_id TEXT NOT NULL, 
	tag TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	submitted_sha256 TEXT NOT NULL, 
	sop_instance_uid TEXT NOT NULL, 
	segments JSON NOT NULL, 
	author TEXT DEFAULT '' NOT NULL, 
	client TEXT DEFAULT '' NOT NULL, 
	model TEXT DEFAULT '' NOT NULL, 
	model_version TEXT DEFAULT '' NOT NULL, 
	comment TEXT DEFAULT '' NOT NULL, 
	info JSON NOT NULL, 
	created FLOAT NOT NULL, 
	deleted BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (case_id, tag, number), 
	FOREIGN KEY(case_id) REFERENCES case_ (id)
);
INSERT INTO "label" VALUES(1,'1.2.826.0.1.1','final',1,'1.2.826.0.1.1/final/v0001-aaaaaaaa.dcm','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2.25.2863311530','[{"number": 1, "name": "liver", "layer": 0, "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}, "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}, "color": [220, 20, 60], "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}, {"number": 2, "name": "tumour", "layer": 0, "category": null, "type": null, "color": null, "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}]','anna','3D Slicer','','','','{"from": "test"}',1.79528116692590522769e+09,0);
INSERT INTO "label" VALUES(2,'1.2.826.0.1.1','final',2,'1.2.826.0.1.1/final/v0002-bbbbbbbb.dcm','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','2.25.3149642683','[{"number": 1, "name": "liver", "layer": 0, "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}, "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}, "color": [220, 20, 60], "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}, {"number": 2, "name": "tumour", "layer": 0, "category": null, "type": null, "color": null, "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}]','anna','3D Slicer','','','it''s better
now','{"seen": true}',1.79528116704614949233e+09,0);
INSERT INTO "label" VALUES(3,'1.2.826.0.1.2','final',1,'1.2.826.0.1.2/final/v0001-cccccccc.dcm','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','2.25.3435973836','[{"number": 1, "name": "liver", "layer": 0, "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}, "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}, "color": [220, 20, 60], "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}, {"number": 2, "name": "tumour", "layer": 0, "category": null, "type": null, "color": null, "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}]','björn','3D Slicer','segmentation','segmentation-1','','{"from": "test"}',1.79528116708159732814e+09,0);
INSERT INTO "label" VALUES(4,'1.2.826.0.1.2','original',1,'1.2.826.0.1.2/original/v0001-dddddddd.dcm','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','2.25.3722304989','[{"number": 1, "name": "liver", "layer": 0, "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}, "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}, "color": [220, 20, 60], "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}, {"number": 2, "name": "tumour", "layer": 0, "category": null, "type": null, "color": null, "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}]','','3D Slicer','segmentation','segmentation-1','','{"from": "test"}',1.79528116714533376692e+09,0);
INSERT INTO "label" VALUES(5,'1.2.826.0.1.3','final',1,'1.2.826.0.1.3/final/v0001-eeeeeeee.dcm','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','2.25.4008636142','[{"number": 1, "name": "liver", "layer": 0, "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}, "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}, "color": [220, 20, 60], "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}, {"number": 2, "name": "tumour", "layer": 0, "category": null, "type": null, "color": null, "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}]','anna','3D Slicer','','','','{"from": "test"}',1.7952811671777362824e+09,0);
INSERT INTO "label" VALUES(6,'1.2.826.0.1.4','draft',1,'1.2.826.0.1.4/draft/v0001-ffffffff.dcm','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','2.25.4294967295','[{"number": 1, "name": "liver", "layer": 0, "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}, "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}, "color": [220, 20, 60], "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}, {"number": 2, "name": "tumour", "layer": 0, "category": null, "type": null, "color": null, "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}]','chen','3D Slicer','','','','{"from": "test"}',1.79528116721860766407e+09,1);
INSERT INTO "label" VALUES(7,'sent-2','final',1,'sent-2/final/v0001-99999999.nii.gz','9999999999999999999999999999999999999999999999999999999999999999','9999999999999999999999999999999999999999999999999999999999999999','','[{"number": 1, "name": "liver", "layer": 0, "category": {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}, "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}, "color": [220, 20, 60], "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}, {"number": 2, "name": "tumour", "layer": 0, "category": null, "type": null, "color": null, "algorithm": "SEMIAUTOMATIC", "algorithm_name": "", "tracking_uid": ""}]','anna','3D Slicer','','','','{"from": "test"}',1.7952811672657253742e+09,0);
CREATE TABLE lease (
	case_id TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	strategy TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (case_id), 
	FOREIGN KEY(case_id) REFERENCES case_ (id)
);
INSERT INTO "lease" VALUES('1.2.826.0.1.4','björn','first','the first',2.7952811674990768432e+09);
INSERT INTO "lease" VALUES('sent-2','chen','random','why; "not"',2.7952811674990768432e+09);
CREATE TABLE model_version (
	id TEXT NOT NULL, 
	model TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	parent TEXT DEFAULT '' NOT NULL, 
	folder TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT DEFAULT '' NOT NULL, 
	metrics JSON NOT NULL, 
	label_ids JSON NOT NULL, 
	licence TEXT DEFAULT '' NOT NULL, 
	job_id TEXT DEFAULT '' NOT NULL, 
	created FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (model, number)
);
INSERT INTO "model_version" VALUES('segmentation-1','segmentation',1,'','segmentation/1','1111111111111111111111111111111111111111111111111111111111111111','published','it isn''t worse','{"dice": 0.81}','[1, 2]','CC-BY-4.0','3fa4252033e941c68729f374b2721e86',1.79528116849907708164e+09);
INSERT INTO "model_version" VALUES('segmentation-2','segmentation',2,'segmentation-1','segmentation/2','2222222222222222222222222222222222222222222222222222222222222222','rejected','dice fell
by 0.1','{"dice": 0.8200000000000001}','[1, 2]','','',1.79528116949907708167e+09);
INSERT INTO "model_version" VALUES('segmentation-3','segmentation',3,'segmentation-2','segmentation/3','3333333333333333333333333333333333333333333333333333333333333333','published','it isn''t worse','{"dice": 0.8300000000000001}','[1, 2]','','',1.79528117049907708167e+09);
CREATE TABLE note (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "note" VALUES('sync.cursor','cursor 2');
CREATE TABLE outbox (
	label_id INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	next_try FLOAT NOT NULL, 
	error TEXT DEFAULT '' NOT NULL, 
	location TEXT DEFAULT '' NOT NULL, 
	delivered FLOAT, 
	PRIMARY KEY (label_id), 
	FOREIGN KEY(label_id) REFERENCES label (id)
);
INSERT INTO "outbox" VALUES(1,'delivered',0,1.79528116692590522769e+09,'','http://archive/studies/1',1.79528116729919290546e+09);
INSERT INTO "outbox" VALUES(2,'waiting',1,4000000000.0,'the archive answers 503 Service Unavailable','',NULL);
INSERT INTO "outbox" VALUES(3,'refused',1,1.79528116708159732814e+09,'the archive answers 409: another object has this UID
Delete the other object, then try again.','',NULL);
INSERT INTO "outbox" VALUES(4,'refused',1,1.79528116714533376692e+09,'413
','',NULL);
INSERT INTO "outbox" VALUES(5,'waiting',1,1.79528116739699220658e+09,'the archive answers 415
Have its administrator allow segmentations.','',NULL);
INSERT INTO "outbox" VALUES(6,'refused',1,1.79528116721860766407e+09,'
Ask the administrator.','',NULL);
CREATE TABLE score (
	case_id TEXT NOT NULL, 
	scorer TEXT NOT NULL, 
	model_version TEXT NOT NULL, 
	value FLOAT NOT NULL, 
	detail JSON NOT NULL, 
	seconds FLOAT NOT NULL, 
	created FLOAT NOT NULL, 
	PRIMARY KEY (case_id, scorer, model_version), 
	FOREIGN KEY(case_id) REFERENCES case_ (id)
);
INSERT INTO "score" VALUES('1.2.826.0.1.1','entropy:segmentation','segmentation-1',3.00000000000000044408e-01,'{"classes": {"liver": 0.3}, "slices": [3, 1, 2]}',1.5,1.79528116780447816853e+09);
INSERT INTO "score" VALUES('1.2.826.0.1.2','entropy:segmentation','segmentation-1',1.0e-09,'{}',0.25,1.7952811678269181251e+09);
INSERT INTO "score" VALUES('1.2.826.0.1.3','variance:segmentation','segmentation-2',0.5,'{"\u00f6": 1}',0.25,1.79528116784791970253e+09);
CREATE TABLE served (
	model TEXT NOT NULL, 
	version TEXT NOT NULL, 
	since FLOAT NOT NULL, 
	PRIMARY KEY (model), 
	FOREIGN KEY(version) REFERENCES model_version (id)
);
INSERT INTO "served" VALUES('segmentation','segmentation-1',1.79528116799607133867e+09);
CREATE INDEX case_open ON case_ (position, id, patient_key) WHERE completed = 0 AND gone = 0 AND offered = 1 AND problem = '' AND expires IS NULL;
CREATE INDEX case_served ON case_ (served, id) WHERE served > 0;
CREATE INDEX case_completed ON case_ (patient_key) WHERE completed IS 1;
CREATE INDEX job_open ON job (state) WHERE state IN ('queued', 'running');
CREATE INDEX ix_fingerprint_value ON fingerprint (value);
CREATE INDEX ix_label_case_id ON label (case_id);
CREATE INDEX ix_lease_holder ON lease (holder);
CREATE INDEX score_newest ON score (scorer, created);
CREATE INDEX ix_job_event_job_id ON job_event (job_id);
CREATE INDEX outbox_waiting ON outbox (next_try) WHERE state = 'waiting';
COMMIT;
