/*
 * mammoseg -> QuPath: add the regions found by inference to the images of the project, with their measurements.
 *
 * Write the results for the exported images first, in a terminal:
 *   python -m monai.bundle run --config_file bundles/unet/configs/inference.json --dataset_dir <project>/mammoseg \
 *       --results_dir <project>/mammoseg_results --formats "['geojson', 'findings']"
 *
 * Reads <project>/mammoseg_results: <image>.geojson, and findings.csv if it exists (one row per image: areas, scores).
 * Each region has its area, mean probability and, if a lesion, its score as measurements; the cells of findings.csv
 * become metadata of the image, shown below the list of images. Regions are named 'mammoseg', by which a later run
 * recognizes them.
 *
 * Close all open images, without unsaved changes. Run once (Run > Run), not "Run for project". Without a window:
 *   QuPath script docs/qupath/import_results.groovy --project project.qpproj --save [--args FOLDER]
 */
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjects

def asDetections = false // true: detections, which are not editable, but lightweight and with their own table
def replace = false      // true: first delete the regions of an earlier run, even if they were corrected
def lowestScore = 0.0     // omit lesions with a lower score

def mark = 'mammoseg'

// The same in both scripts: a unique file name for each image of the project, of letters, digits, '.', '_' and '-'
def entriesByName(project) {
    def found = [:]
    def taken = new HashSet()
    for (entry in project.getImageList()) {
        def name = String.valueOf(entry.getImageName())
        name = name.replaceAll('(?i)([.](dcm|dicom|png|jpe?g|tiff?|bmp|ome))+$', '')
        name = name.replaceAll('[^A-Za-z0-9._-]+', '_').replaceAll('^[._-]+|[._-]+$', '')
        name = name.take(100)
        if (name.isEmpty() || name.matches('(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])([.].*)?')) {
            name = 'image_' + name
        }
        def candidate = name
        def number = 1
        while (!taken.add(candidate.toLowerCase())) {
            number++
            candidate = name + '_' + number
        }
        found.put(candidate, entry)
    }
    return found
}

// Cells of one line of a CSV file: commas, quotation marks doubled within quotation marks
def cellsOf(line) {
    def cells = []
    def cell = new StringBuilder()
    def quoted = false
    def place = 0
    while (place < line.length()) {
        def letter = line.substring(place, place + 1)
        if (letter == '"' && quoted && line.startsWith('"', place + 1)) {
            cell.append(letter)
            place++
        } else if (letter == '"') {
            quoted = !quoted
        } else if (letter == ',' && !quoted) {
            cells.add(cell.toString())
            cell.setLength(0)
        } else {
            cell.append(letter)
        }
        place++
    }
    cells.add(cell.toString())
    return cells
}

// Row of findings.csv by the name of its image, as column -> cell
def findingsIn(file) {
    def rows = [:]
    if (!file.exists()) {
        return rows
    }
    def lines = file.readLines('UTF-8').findAll { line -> !line.isEmpty() }
    def columns = lines.isEmpty() ? [] : cellsOf(lines[0])
    def key = columns.indexOf('name')
    for (line in lines.drop(1)) {
        def cells = cellsOf(line)
        if (key < 0 || cells.size() != columns.size()) {
            throw new IllegalStateException(file.getPath() + ': not in the format that inference writes; run inference again')
        }
        def row = [:]
        columns.eachWithIndex { column, place -> row.put(column, cells[place]) }
        rows.put(cells[key], row)
    }
    return rows
}

def project = getProject()
if (project == null) {
    throw new IllegalStateException('No project is open; open the project that was exported')
}
def given = binding.hasVariable('args') && args ? args[0] : null
def folder = given ?: buildFilePath(PROJECT_BASE_DIR, 'mammoseg_results')
def findings = findingsIn(new File(folder, 'findings.csv'))
def images = 0
def regions = 0
entriesByName(project).each { name, entry ->
    def file = new File(folder, name + '.geojson')
    def row = findings.get(name)
    if (!file.exists() && row == null) {
        println 'no result: ' + name
        return
    }
    if (row != null) {
        row.each { column, cell ->
            if (column != 'name' && !cell.isEmpty()) {
                entry.putMetadataValue(mark + ' ' + column, cell)
            }
        }
    }
    def imageData = entry.readImageData()
    try {
        def hierarchy = imageData.getHierarchy()
        def earlier = hierarchy.getFlattenedObjectList(null).findAll { it.getName() == mark }
        if (file.exists() && !earlier.isEmpty() && !replace) {
            println 'has regions of an earlier run; set replace = true to delete them: ' + name
            return
        }
        hierarchy.removeObjects(earlier, true)
        def found = file.exists() ? PathIO.readObjects(file) : []
        found = found.findAll { region ->
            def score = region.getMeasurementList().get('Score')
            return score == null || Double.isNaN(score) || score >= lowestScore
        }
        if (asDetections) {
            found = found.collect {
                PathObjects.createDetectionObject(it.getROI(), it.getPathClass(), it.getMeasurementList())
            }
        }
        found.each { it.setName(mark) }
        hierarchy.addObjects(found)
        entry.saveImageData(imageData)
        images++
        regions += found.size()
    } finally {
        imageData.getServer().close()
    }
}
project.syncChanges()
println images + ' images, ' + regions + ' regions, from ' + folder
